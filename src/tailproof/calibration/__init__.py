"""Temperature scaling: one number an expert, fitted on the split calib alone.

`calibrate.calibrate` and `export.export` are its stages. This file imports nothing: evaluation
uses `errors`, and must not become stale when the fit of the temperature changes.
"""
