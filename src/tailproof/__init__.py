"""Tailproof: calibrated classification experts for long-tailed data, with proof."""

__version__ = "0.1.0"
