"""Stage diagnose: what a run's history says by itself, counted against its own noise."""
