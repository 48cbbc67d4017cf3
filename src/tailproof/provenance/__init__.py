"""Provenance: what made each output, and whether it still holds."""
