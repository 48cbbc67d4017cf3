"""Recognizes values that are no classes: several labels in one cell, and quantities."""

import re
from collections import Counter
from collections.abc import Collection

from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.text import quantity

NUMBER = re.compile(r"-?\d*\.?\d+([eE][-+]?\d+)?")
WHOLE = re.compile(r"-?\d+(\.0*)?")
SEVERAL = "|;, "
"""What separates several labels in one cell."""


def are_quantities(values: Collection[str]) -> bool:
    """Return whether values are numbers that are not all whole."""
    return all(map(NUMBER.fullmatch, values)) and not all(map(WHOLE.fullmatch, values))


def find_joined(values: Collection[str], *, is_list: bool = False) -> list[str]:
    """Return the values that are several labels.

    Most of these occur alone too, or their number varies.

    Args:
        values: the distinct values of a column.
        is_list: whether the name of the column says that a cell has several labels, so that blanks
            separate them.
    """
    for sign in SEVERAL:
        joined = [value for value in values if sign in value.strip(sign)]
        parts = {part.strip() for value in joined for part in value.split(sign)}
        alone = sum(part in values for part in parts) >= 0.7 * len(parts)
        varied = sign in "|;" and len({value.count(sign) for value in values}) > 1
        several = alone or varied or (sign == " " and is_list)
        if joined and len(parts) > 1 and several and _mixes(joined, sign):
            return joined
    return []


def report_unfit(name: str, column: LabelColumn, table: str) -> list[str]:
    """Return warnings about values of a column of labels that look like no classes."""
    counts = column.counts()
    warnings = []
    if joined := find_joined(counts):
        warnings.append(
            f"{table}: the column '{name}' has several labels in {quantity(len(joined), 'value')} "
            f"such as '{joined[0]}', and each combination is a class of its own, because a "
            "picture has one class here: write a column with the label that matters"
        )
    if counts and are_quantities(counts):
        warnings.append(
            f"{table}: the column '{name}' has numbers such as {next(iter(counts))}, and each of "
            f"the {len(counts)} numbers is a class of its own; write a column of classes if they "
            "are a quantity"
        )
    return warnings


def _mixes(joined: list[str], sign: str) -> bool:
    """Return whether parts of some values occur in others too, as those of several labels do."""
    counts = Counter(part.strip() for value in joined for part in set(value.split(sign)))
    return len(joined) == 1 or any(count > 1 for count in counts.values())
