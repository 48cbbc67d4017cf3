"""Parquet tables with JSON metadata in their schema, written whole or not at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.files import atomic, parse_json
from tailproof.resource_limits import lacking
from tailproof.runtime.errors import TailproofError, suggestion

ROWS_A_BYTE = 16  # compressed ids take about a byte per row
LARGEST_COLUMN = 2**30  # bytes of a column in one row group
GROWTH = 1000  # times; pixels of one colour grow less than that


def write_parquet(
    path: str | Path, table: pa.Table, *, row_group_size: int = 65536, **options: Any
) -> None:
    """Write an Arrow table as parquet, atomically; the default compression is zstd."""
    options.setdefault("compression", "zstd")
    with atomic(path) as temporary:
        pq.write_table(table, temporary, row_group_size=row_group_size, **options)


def read_parquet(path: str | Path, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file as an Arrow table.

    Raises:
        TailproofError: the file is missing, truncated, or lacks a column.
    """
    with _parquet(path) as file:
        names = file.schema_arrow.names
        for column in columns or ():
            if column not in names:
                raise TailproofError(
                    f"{path} has no column '{column}'{suggestion(column, names)}; its columns "
                    "are: " + ", ".join(names) + ": delete it and run snakemake again"
                )
            if names.count(column) > 1:
                raise TailproofError(
                    f"{path} has two columns with the name '{column}': delete it and run "
                    "snakemake again"
                )
        return file.read(columns=columns)


def numbers(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Copy a column of numbers to an array, with NaN for missing floats and -1 for integers.

    Arrow's `fill_null` and `to_numpy` would import pandas, which takes a third of a second.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = np.dtype(array.type.to_pandas_dtype())
    if not len(array):
        return np.empty(0, kind)
    valid, values = array.buffers()
    rows = slice(array.offset, array.offset + len(array))
    found = np.frombuffer(values, kind)[rows].copy()
    if array.null_count:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        found[bits[rows] == 0] = np.nan if kind.kind == "f" else -1
    return found


def read_batches(path: str | Path, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield columns of a parquet file in batches of at most `rows` rows, in order.

    Raises:
        TailproofError: the file is missing or damaged.
    """
    with _parquet(path) as file:
        yield from file.iter_batches(rows, columns=columns, use_threads=False)


def table_metadata(path: str | Path) -> dict[str, Any]:
    """Return the JSON that `with_metadata` stored in a parquet file's schema.

    Raises:
        TailproofError: the file is missing, truncated, or was not written by tailproof.
    """
    return read_schema(path)[1]


def read_schema(path: str | Path) -> tuple[pa.Schema, dict[str, Any]]:
    """Return the schema of a parquet file, and the JSON that `with_metadata` stored in it.

    Raises:
        TailproofError: the file is missing, truncated, or was not written by tailproof.
    """
    with _parquet(path) as file:
        schema = file.schema_arrow
    raw = (schema.metadata or {}).get(b"tailproof")
    if raw is None:
        raise TailproofError(
            f"{path} was not written by tailproof (its schema has no metadata): delete it and run "
            "snakemake again"
        )
    try:
        value = parse_json(raw.decode())
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise TailproofError(
            f"{path}: the metadata of its schema is not a JSON object: delete it and run "
            "snakemake again"
        )
    return schema, value


@contextmanager
def _parquet(path: str | Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            refuse_bomb(path, file.metadata)
            yield file
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error, "delete it and run snakemake again") from None


def refuse_bomb(path: str | Path, footer: pq.FileMetaData) -> None:
    """Refuse a parquet file of a few bytes that would fill the memory.

    Args:
        path: the file.
        footer: its metadata.

    Raises:
        TailproofError: it has far more rows than bytes, or a column grows beyond measure.
    """
    size = Path(path).stat().st_size
    if footer.num_rows > ROWS_A_BYTE * size:
        raise TailproofError(
            f"{path} claims {footer.num_rows} rows in {size} bytes, which no table of samples can "
            "have: it is damaged or built to exhaust memory; replace it"
        )
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            large = column.total_uncompressed_size
            if large > LARGEST_COLUMN and large > GROWTH * size:
                raise TailproofError(
                    f"{path}: its column '{column.path_in_schema}' grows from {size} to {large} "
                    "bytes when it is read: it is damaged or built to exhaust memory; replace it"
                )


def unreadable(path: str | Path, error: Exception, advice: str) -> TailproofError:
    """Build the error for a parquet file that is missing or cannot be read.

    Args:
        path: the file.
        error: what reading raised.
        advice: what to do if the file is damaged, and not the machine short of something.
    """
    if isinstance(error, FileNotFoundError):
        return TailproofError(f"{path} does not exist: build it with snakemake")
    reason = " ".join(str(error).split())
    return TailproofError(
        f"{path} cannot be read as parquet ({reason}): {lacking(error) or advice}"
    )


def with_metadata(table: pa.Table, value: dict[str, Any], **more: str) -> pa.Table:
    """Store `value` as JSON under the schema key ``tailproof``, and `more` as plain keys."""
    metadata = {"tailproof": json.dumps(value, sort_keys=True, ensure_ascii=False), **more}
    return table.replace_schema_metadata(metadata)
