"""Code that runs jobs but does not affect results: stage wrapper, records, signals, Slurm."""
