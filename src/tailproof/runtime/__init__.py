"""What carries a result and does not make it: the stage wrapper, records, signals, Slurm."""
