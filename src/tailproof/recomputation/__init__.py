"""Computes results again in a scratch folder, to find those that were changed with their records.

`tailproof audit` does this after everything else is proven. No record's digest is used: what is
compared is what the files say of each other.
"""
