"""How far apart the numbers of two files are, to compare a difference with that between seeds."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

Numbers = tuple[list[Any], np.ndarray]
"""What must be equal (names, keys, texts), and the numbers, flat."""


def numeric_distance(one: Path, other: Path) -> float | None:
    """Return the mean absolute difference of the numbers of two files.

    It is infinite if the numbers of one are missing in the other. It is None for files that are not
    Parquet, CSV or JSON, that have no numbers, or whose texts, keys or lengths differ.
    """
    read = _READERS.get(one.suffix)
    if read is None:
        return None
    (texts, numbers), (other_texts, other_numbers) = read(one), read(other)
    if texts != other_texts or len(numbers) != len(other_numbers) or not len(numbers):
        return None
    both_missing = np.isnan(numbers) & np.isnan(other_numbers)
    differences = np.abs(numbers - other_numbers)[~both_missing]
    differences[np.isnan(differences)] = math.inf
    return float(differences.mean()) if len(differences) else 0.0


def _read_parquet(path: Path) -> Numbers:
    return _numbers_of(pq.read_table(path))


def _read_csv(path: Path) -> Numbers:
    return _numbers_of(pacsv.read_csv(path))


def _numbers_of(table: pa.Table) -> Numbers:
    texts: list[Any] = [table.num_rows]
    numbers = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        while isinstance(column.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
            column = column.combine_chunks().flatten()  # noqa: PLW2901 - one level less
        texts.append(name)
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            numbers.append(values)
        else:
            texts.append(column.to_pylist())
    return texts, np.concatenate(numbers) if numbers else np.empty(0)


def _read_json(path: Path) -> Numbers:
    texts: list[Any] = []
    numbers: list[float] = []
    for key, value in _leaves(json.loads(path.read_text(encoding="utf-8"))):
        texts.append(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            numbers.append(value)
        else:
            texts.append(value)
    return texts, np.array(numbers, dtype=float)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values; digests of other files say nothing about how far apart they are."""
    if isinstance(value, dict):
        for name, item in value.items():
            if "sha256" not in name:
                yield from _leaves(item, f"{key}.{name}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{key}[{place}]")
    else:
        yield key, value


_READERS: dict[str, Callable[[Path], Numbers]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".json": _read_json,
}
