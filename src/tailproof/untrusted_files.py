"""Reads small files that others wrote: regular, of bounded size, every failure one sentence.

A named pipe or a device is refused before it is read, because reading it may never end.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

from tailproof.runtime.errors import TailproofError

LIMIT = 256 * 2**20
"""Largest size in bytes unless the caller expects less."""


def read_bytes(path: str | Path, *, limit: int = LIMIT) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file; links are followed.
        limit: largest accepted size in bytes.

    Raises:
        TailproofError: the file is missing, not a regular file, larger, or not readable.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe waits for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise TailproofError(f"{path} cannot be read: {_reason(error)}") from None
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise TailproofError(f"{path} is a folder, expected a file")
        if not stat.S_ISREG(status.st_mode):
            raise TailproofError(f"{path} is a pipe or a device, expected a regular file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise TailproofError(f"{path} cannot be read: {_reason(error)}") from None
    finally:
        os.close(handle)
    if len(content) > limit:
        raise TailproofError(
            f"{path} has {max(status.st_size, len(content))} bytes, expected at most {limit}"
        )
    return content


def read_text(path: str | Path, *, limit: int = LIMIT) -> str:
    """Return the UTF-8 text of a regular file, without a byte order mark.

    Raises:
        TailproofError: see `read_bytes`; or the file is not UTF-8 text.
    """
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TailproofError(f"{path} is not UTF-8 text (byte {error.start})") from None


def read_json(path: str | Path, *, limit: int = LIMIT) -> Any:
    """Return the value of a JSON file.

    Raises:
        TailproofError: see `read_text`; or the file is not JSON.
    """
    try:
        return json.loads(read_text(path, limit=limit))
    except (RecursionError, ValueError) as error:  # ValueError: also a number of 5,000 digits
        raise TailproofError(f"{path} is not valid JSON: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return strerror or str(error).splitlines()[0]
