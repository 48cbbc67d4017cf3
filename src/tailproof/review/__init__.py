"""The images worth a person's look, for labelling tools and as a page."""
