"""Columns of context: what is taken of their cells, and the file context.parquet."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tailproof.data.tables import read_parquet, table_metadata
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

Kind = Literal["value", "month"]
"""What is taken of a cell: its text, or the month of a date."""

VALUE: Kind = "value"
MONTH: Kind = "month"

DATE = re.compile(r"\d{4}[-/:.](0?[1-9]|1[0-2])[-/:.](0?[1-9]|[12]\d|3[01])([T ].*)?")
"""Year, month and day, as in ISO 8601 and EXIF; a time may follow."""

OTHER_DATE = re.compile(r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([T ].*)?")
MOST_NUMBERS = 20
"""Different numbers with decimals from which on a column is a measurement."""

MOST_OWN = 0.5
"""Share of the samples that may have a value of their own; an id has one for each."""


def read_context(path: str | Path) -> tuple[dict[str, list[str | None]], dict[str, Kind]]:
    """Return {sample: its value in each column} and {column: its kind} of context.parquet."""
    kinds = table_metadata(path)["kinds"]
    table = read_parquet(path, ["sample_id", *kinds])
    rows = zip(*(table[name].to_pylist() for name in kinds), strict=True)
    return dict(zip(table["sample_id"].to_pylist(), map(list, rows), strict=True)), kinds


def read_cell(cell: str | None, kind: Kind) -> str | None:
    """Return the value of a cell; None if it is empty, or no date where dates are expected."""
    text = (cell or "").strip()
    if kind == MONTH:
        date = DATE.fullmatch(text)
        return date and f"{int(date[1]):02d}"
    return text or None


def kind_of(name: str, cells: Sequence[str | None]) -> Kind:
    """Return the kind of a column.

    Raises:
        TailproofError: it has no value, or its values are measurements, ids, or dates that can be
            read in two ways.
    """
    counts = Counter(text for cell in cells if (text := (cell or "").strip()))
    if not counts:
        raise TailproofError(
            f"data.context names the column '{name}', which has no value in any row: name another "
            "column, or fill it in"
        )
    if all(DATE.fullmatch(text) for text in counts):
        return MONTH
    example = max(counts, key=lambda text: (bool(OTHER_DATE.fullmatch(text)), counts[text]))
    values = quantity(len(counts), "different value")
    column = f"data.context names the column '{name}', which has {values}"
    if OTHER_DATE.fullmatch(example) or DATE.fullmatch(example):
        raise TailproofError(
            f"{column}, expected only dates such as 2021-07-14 (of which the month is used), found "
            f"'{example}': write all dates that way, or add a column with the month"
        )
    if len(counts) > MOST_NUMBERS and all(map(_is_number, counts)):
        decimals = [text for text in counts if not float(text).is_integer()]
        if decimals:
            raise TailproofError(
                f"{column}; these are numbers with decimals, such as {decimals[0]}, but context "
                "must be a category: add a column with a few ranges of these numbers, such as "
                "'low' and 'high'"
            )
    if len(counts) > MOST_OWN * counts.total() and counts.total() > MOST_NUMBERS:
        raise TailproofError(
            f"{column} such as '{example}', too many for {quantity(counts.total(), 'sample')} "
            "to say anything about new images: name a column whose values many samples share"
        )
    return VALUE


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
