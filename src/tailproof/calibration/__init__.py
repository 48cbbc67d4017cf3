"""Temperature scaling: one temperature per head of an expert, fitted on the split calib.

`calibrate.calibrate` and `export.export` are its stages. This file imports nothing: evaluation
uses `metrics`, and must not become stale when the fit of the temperature changes.
"""
