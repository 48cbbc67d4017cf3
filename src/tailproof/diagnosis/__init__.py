"""Stage diagnose: find problems of a run in its history, measured against its own noise."""
