"""The stage card: an expert's model card, and the files that prediction needs."""
