"""The rows of a file as they are, before anything is known of their names."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tailproof.diagnosis.readers.cells import NoNumberError, read_number

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class PassedOver:
    """Rows or files that are not part of a history, for one reason.

    Attributes:
        reason: why, as a noun phrase in the plural.
        count: how many.
        examples: the first few.
    """

    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows of a file with its own names and unchanged values.

    Attributes:
        rows: the values by name.
        form: what kind of file it is, for the reader of the output.
        run: the run, where a file names several.
        numbered: whether the position of a row is its epoch by the form of the file.
        passed_over: rows that hold no measurement.
        notes: what was understood of the form, in sentences.
    """

    rows: Rows
    form: str
    run: str = ""
    numbered: bool = False
    passed_over: tuple[PassedOver, ...] = ()
    notes: tuple[str, ...] = field(default=())


def merge_rows(rows: Rows, is_key: Callable[[str], bool]) -> Rows:
    """Merge rows that have the same keys, such as the epoch, and no other name in common."""
    merged: Rows = []
    open_rows: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        key = tuple((name, _plain(row[name])) for name in row if is_key(name))
        target = open_rows.get(key)
        if target is None or any(name in target and not is_key(name) for name in row):
            target = open_rows[key] = {}
            merged.append(target)
        target.update(row)
    return merged


def _plain(cell: Any) -> float | str:
    try:
        return read_number(cell)
    except NoNumberError:
        return str(cell).strip()
