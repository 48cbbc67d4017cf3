"""Counts and names within sentences."""


def quantity(count: int, noun: str, plural: str | None = None) -> str:
    """Write ``1 seed``, ``1,797 images``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(names: list[str], most: int = 5) -> str:
    """Write ``a, b, c``; beyond the most how many more."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
