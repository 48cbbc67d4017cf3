"""Temperature scaling: one temperature per head of an expert, fitted on the split calib.

Its stages are `calibrate.calibrate` and `export.export`. This file imports nothing, because
evaluation uses `metrics` and must not become stale when the fit of the temperature changes.
"""
