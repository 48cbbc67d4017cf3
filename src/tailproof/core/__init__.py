"""The ground floor: errors, digests, atomic files, configuration and progress."""
