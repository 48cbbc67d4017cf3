"""Atomic file writes: write a temporary file next to the target, fsync, rename, fsync again."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tailproof.runtime.errors import TailproofError


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it replaces `path` on success, is deleted on failure.

    Raises:
        TailproofError: the disk is full or the folder is not writable.
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
                f"no space left on the disk of {path.parent} while writing {path.name}: free some "
                "space and run again; an earlier version of the file is unchanged"
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
    """Write `value` as indented JSON, atomically. NaN is an error: use None instead."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return `value` as the text of a JSON file: indented, with a final newline."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

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
