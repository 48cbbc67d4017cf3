"""The stage bundle: the folder of an ensemble that predicts like one expert."""
