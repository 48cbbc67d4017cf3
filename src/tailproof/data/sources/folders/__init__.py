"""Lists folders of pictures, and finds what looks like a mistake in them."""
