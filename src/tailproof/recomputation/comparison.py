"""Compares two files of results by what they say, up to the last digits of numbers."""

import csv
import json
import math
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""Largest difference of two numbers; another processor computes other last digits."""

CHART = re.compile(r"<svg viewBox.*?</svg>", re.DOTALL)

Value = tuple[str, Any]
"""A place in a file, and what is there."""


def first_difference(stated: Path, computed: Path) -> str | None:
    """Return the first difference of two files as part of a sentence; None if there is none."""
    if stated.read_bytes() == computed.read_bytes():
        return None
    values = _READERS.get(stated.suffix)
    if values is None:
        return "its bytes differ"
    for one, other in zip_longest(values(stated), values(computed)):
        if one is None or other is None or not _same(one, other):
            place, value = one or ("the end", "missing")
            again = "missing" if other is None else other[1]
            return f"{place} is {_shown(value)}, but {_shown(again)} when computed again"
    return None


def _same(one: Value, other: Value) -> bool:
    if one[0] != other[0]:
        return False
    first, second = _number(one[1]), _number(other[1])
    if first is None or second is None:
        return bool(one[1] == other[1])
    both_nan = math.isnan(first) and math.isnan(second)
    return both_nan or math.isclose(first, second, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _number(value: Any) -> float | None:
    """Return the number that a value is or spells; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    return f"{value!a:.60}"


def _json_values(path: Path) -> Iterator[Value]:
    yield from _leaves(json.loads(path.read_text(encoding="utf-8")), "")


def _leaves(value: Any, key: str) -> Iterator[Value]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{key}[{place}]")
    else:
        yield key, value


def _csv_values(path: Path) -> Iterator[Value]:
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            for column, cell in enumerate(row, 1):
                yield f"line {number}, column {column}", cell


def _parquet_values(path: Path) -> Iterator[Value]:
    with pq.ParquetFile(path) as file:
        yield "the columns", str(file.schema_arrow.remove_metadata())
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                yield from row.items()


def _lines(path: Path) -> Iterator[Value]:
    text = CHART.sub("<svg></svg>", path.read_text(encoding="utf-8", errors="replace"))
    for number, line in enumerate(text.splitlines(), 1):
        yield f"line {number}", line


_READERS = {
    ".json": _json_values,
    ".csv": _csv_values,
    ".parquet": _parquet_values,
    ".html": _lines,
    ".md": _lines,
    ".py": _lines,
}
