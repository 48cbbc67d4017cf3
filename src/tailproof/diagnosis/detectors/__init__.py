"""Detectors: each looks at the history of one run for one kind of problem."""
