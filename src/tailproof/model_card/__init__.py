"""The stage card: the model card of an expert, and the files that a prediction needs."""
