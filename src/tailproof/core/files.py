"""Files that appear whole or not at all: write beside, fsync, rename, fsync the directory."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.core.errors import TailproofError, suggestion


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is gone.

    Raises:
        TailproofError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        os.fchmod(handle, 0o666 & ~_umask())
        os.close(handle)
        yield temporary
        _fsync(temporary)
        os.replace(temporary, path)
        _fsync(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TailproofError(
                f"no space left on the disk that holds {path.parent} while writing {path.name}: "
                "free some and run again; what stood there before is untouched"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS):
            raise TailproofError(
                f"cannot write {path}: {path.parent} is not writable; change its permissions or "
                "run in another folder"
            ) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: write null."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return the text of a JSON file: indented, with a last newline."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        TailproofError: the file is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except (OSError, RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TailproofError(
            f"{path} is not valid JSON ({error}); delete it and run again"
        ) from None


def write_parquet(
    path: str | Path, table: pa.Table, *, row_group_size: int = 65536, **options: Any
) -> None:
    """Write an Arrow table as parquet (zstd unless told otherwise), atomically."""
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
                    f"{path} has no column '{column}'{suggestion(column, names)}; it has: "
                    + ", ".join(names)
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
        raise TailproofError(f"{path} was not written by tailproof (its schema has no metadata)")
    return json.loads(raw)


@contextmanager
def _parquet(path: str | Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except (pa.ArrowException, OSError) as error:
        raise TailproofError(
            f"{path} cannot be read as parquet ({error}); delete it and run again"
        ) from None


def with_metadata(table: pa.Table, value: dict[str, Any], **more: str) -> pa.Table:
    """Attach `value` as JSON under the schema key ``tailproof``; `more` are further plain keys."""
    metadata = {"tailproof": json.dumps(value, sort_keys=True, ensure_ascii=False), **more}
    return table.replace_schema_metadata(metadata)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
