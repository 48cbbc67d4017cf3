"""The stage preflight: what a run is about to do, and what is wrong with it, before it starts."""
