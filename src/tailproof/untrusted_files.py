"""Reads small files that others wrote: regular, of bounded size, every failure one sentence.

A named pipe or a device is refused before it is read, because reading it may never end.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tailproof.files import parse_json
from tailproof.runtime.errors import TailproofError

LIMIT = 256 * 2**20
"""Largest size in bytes unless the caller expects less."""
_OTHER_KINDS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive: save its sheet as 'CSV UTF-8', or "
    "unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save its sheet as 'CSV UTF-8'",
    b"\x1f\x8b": "compressed: unpack it",
    b"BZh": "compressed: unpack it",
    b"\xfd7zXZ": "compressed: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed: unpack it",
    b"7z\xbc\xaf\x27\x1c": "compressed: unpack it",
    b"PAR1": "a parquet file: save the table as CSV",
    b"ARROW1": "an Arrow (feather) file: save the table as CSV",
    b"SQLite format 3": "a database: save the table as CSV",
    b"\x89HDF": "an HDF5 file: save the table as CSV",
    b"\x93NUMPY": "a NumPy array, which has no names of columns: save it as CSV with a header",
    **{
        b"\x80" + bytes([protocol]): "a pickle, which is not opened because opening one runs its "
        "code: save the table as CSV or JSON"
        for protocol in range(2, 6)
    },
    b"%PDF": "a PDF document: save the table as CSV",
}
"""What a file is that begins with these bytes and is no text, and what to do."""


@contextmanager
def open_regular(path: str | Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; links are followed.

    Raises:
        TailproofError: the file is missing, not a regular file, or not readable.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe waits for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        target = "is a link to a file that does" if Path(path).is_symlink() else "does"
        raise TailproofError(f"{path} {target} not exist") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise TailproofError(f"{path} is {kind}, expected a regular file")
    with os.fdopen(handle, "rb") as file:
        try:
            yield file
        except OSError as error:
            raise _unreadable(path, error) from None


def other_kind(content: bytes) -> str:
    """Say what a file is instead of a text table, and what to do; empty if it may be text.

    Args:
        content: the file, or its beginning.
    """
    kinds = (kind for start, kind in _OTHER_KINDS.items() if content.startswith(start))
    return next(kinds, "")


def read_bytes(path: str | Path, *, limit: int = LIMIT) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file; links are followed.
        limit: largest accepted size in bytes.

    Raises:
        TailproofError: see `open_regular`; or the file is larger.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
        if content is None:  # of /proc, where reading would wait
            raise TailproofError(f"{path} has no content to read, expected a regular file")
        size = max(os.fstat(file.fileno()).st_size, len(content))
    if len(content) > limit:
        raise TailproofError(f"{path} has {size} bytes, expected at most {limit}")
    return content


def read_text(path: str | Path, *, limit: int = LIMIT) -> str:
    """Return the UTF-8 text of a regular file, without a byte order mark.

    Raises:
        TailproofError: see `read_bytes`; or the file is not UTF-8 text.
    """
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TailproofError(
            f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8"
        ) from None


def read_json(path: str | Path, *, limit: int = LIMIT, nan: bool = False) -> Any:
    """Return the value of a JSON file.

    Args:
        path: the file.
        limit: largest accepted size in bytes.
        nan: whether NaN and Infinity are accepted.

    Raises:
        TailproofError: see `read_text` and `tailproof.files.parse_json`.
    """
    try:
        return parse_json(read_text(path, limit=limit), nan=nan)
    except ValueError as error:
        raise TailproofError(f"{path} is not valid JSON: {_reason(error)}") from None


def _unreadable(path: str | Path, error: Exception) -> TailproofError:
    what_to_do = ": check its permissions" if isinstance(error, PermissionError) else ""
    return TailproofError(f"{path} cannot be read ({_reason(error)}){what_to_do}")


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return strerror or str(error).splitlines()[0]
