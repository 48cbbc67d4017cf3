"""What all readers of logs share: the spelling of numbers, and tables of what was found."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from tailproof.diagnosis.column_aliases import read_name
from tailproof.diagnosis.readers.table import PassedOver, Table

FEWEST_EPOCHS = 2
"""Epochs that a log has at least, if only its words say so."""
NUMBER = r"[-+]?(?:\d{1,40}(?:\.\d{0,40})?(?:[eE][-+]?\d{1,3})?|nan|inf)"
OF_LAST_LINES = (
    "Losses are the running averages in the last line of an epoch, which may lack its last batches."
)

Lines = list[str]


def log_table(
    rows: Iterable[dict[str, Any]],
    passed_over: Mapping[str, int] = MappingProxyType({}),
    note: str = "",
) -> Table | None:
    """Return rows as a table; None if they have no metric."""
    rows = list(rows)
    if not any(read_name(str(name)).role == "metric" for row in rows for name in row):
        return None
    counted = tuple(PassedOver(why, count) for why, count in passed_over.items() if count)
    return Table(rows, "text log", passed_over=counted, notes=(note,) if note else ())
