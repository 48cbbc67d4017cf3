"""Tailproof: calibrated classification experts for long-tailed data, with proof."""
