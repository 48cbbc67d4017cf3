"""Descriptions of an experiment in formats that others read."""
