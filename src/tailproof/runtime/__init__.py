"""What carries a result and does not make it.

The stage wrapper, records, environment, signals, Slurm.
"""
