"""The stage preflight: what a run will do, and its problems, before it starts."""
