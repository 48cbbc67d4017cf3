"""Parquet tables with JSON metadata in their schema, written whole or not at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.files import atomic
from tailproof.runtime.errors import TailproofError, suggestion


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
                    "are: " + ", ".join(names) + ": run its stage again"
                )
        return file.read(columns=columns)


def table_metadata(path: str | Path) -> dict[str, Any]:
    """Return the JSON that `with_metadata` stored in a parquet file's schema.

    Raises:
        TailproofError: the file is missing, truncated, or was not written by tailproof.
    """
    with _parquet(path) as file:
        raw = (file.schema_arrow.metadata or {}).get(b"tailproof")
    if raw is None:
        raise TailproofError(
            f"{path} was not written by tailproof (its schema has no metadata): run its stage again"
        )
    return json.loads(raw)


@contextmanager
def _parquet(path: str | Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist: run its stage first") from None
    except (pa.ArrowException, OSError) as error:
        raise TailproofError(
            f"{path} cannot be read as parquet ({error}); delete it and run again"
        ) from None


def with_metadata(table: pa.Table, value: dict[str, Any], **more: str) -> pa.Table:
    """Store `value` as JSON under the schema key ``tailproof``, and `more` as plain keys."""
    metadata = {"tailproof": json.dumps(value, sort_keys=True, ensure_ascii=False), **more}
    return table.replace_schema_metadata(metadata)
