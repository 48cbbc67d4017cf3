"""Fetches and opens archives of published data sets."""
