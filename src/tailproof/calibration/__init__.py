"""Calibration: one calibrator per head of an expert, fitted on samples that it did not learn.

Its stages are `calibrate.calibrate` and `export.export`. This file imports nothing, because
evaluation uses `metrics` and must not become stale when the fit of the calibrators changes.
"""
