"""Formats counts and lists of names for sentences."""


def quantity(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: ``1 seed``, ``1,797 images``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(names: list[str], most: int = 5) -> str:
    """Return ``a, b, c``; after `most` names, how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
