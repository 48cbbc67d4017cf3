"""Reads tables of file names and labels, as text or parquet."""
