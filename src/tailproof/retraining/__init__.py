"""Fits the head of an expert again with labels that a person verified, and compares the two."""
