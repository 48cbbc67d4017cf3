"""Provenance: what made an output, and whether it still would."""
