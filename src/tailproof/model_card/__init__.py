"""The stage card: what an expert's folder says of itself, and what a prediction needs."""
