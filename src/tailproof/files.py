"""Atomic file writes, JSON, and the folders of installed packages.

A write makes a temporary file next to the target, then fsync, rename, fsync again.
"""

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tailproof.resource_limits import lacking
from tailproof.runtime.errors import TailproofError

LONGEST_NUMBER = 100
"""Digits of an integer; Python needs a time that grows with their square."""


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it replaces `path` on success, is deleted on failure.

    Raises:
        TailproofError: the file cannot be written.
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
        named = Path(error.filename) if error.filename else path
        ours = named.parent == path.parent or named in path.parents
        if error.errno is None or not ours:
            raise
        raise _unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_unfinished(path: str | Path) -> None:
    """Delete what killed writers of a file left next to it; nobody may be writing it now."""
    path = Path(path)
    with suppress(OSError):
        for other in path.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}", other.name):
                other.unlink(missing_ok=True)


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


def unreadable(path: str | Path, error: OSError) -> TailproofError:
    """Build the error for a file or folder that cannot be read, though it is there.

    Args:
        path: the file or folder.
        error: why: its permissions, or what the machine or a limit lacks.
    """
    advice = lacking(error) or "check its permissions"
    return TailproofError(f"{path} cannot be read ({error.strerror}): {advice}")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        TailproofError: the file is missing, cannot be read or is not JSON.
    """
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist: build it with snakemake") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError as error:
        raise TailproofError(
            f"{path} is not valid JSON ({error}); delete it and run snakemake again"
        ) from None


def parse_json(text: str, *, nan: bool = False) -> Any:
    """Return the value of a JSON text, more strictly than Python does.

    Args:
        text: the text.
        nan: whether the numbers NaN, Infinity and -Infinity are accepted, which JSON does not have.

    Raises:
        ValueError: it is not JSON, is nested too deeply, names a key of an object twice, or has a
            number of more than `LONGEST_NUMBER` digits.
    """
    try:
        return json.loads(
            text,
            parse_int=_integer,
            parse_constant=float if nan else _refuse_constant,
            object_pairs_hook=distinct_keys,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; a ValueError says that it names a key twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in value if names.count(name) > 1)
        raise ValueError(f"the key {twice!a:.80} occurs twice in one object")
    return value


def _unwritable(path: Path, error: OSError) -> TailproofError:
    kept = "; the earlier version of the file is unchanged" if _is_file(path) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        lack = "your quota is used up" if error.errno == errno.EDQUOT else "no space is left"
        return TailproofError(
            f"{lack} on the disk of {path.parent} while writing {path.name}: free some space and "
            f"run again{kept}"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        folder = next((place for place in path.parents if os.access(place, os.F_OK)), path.parent)
        change = "" if error.errno == errno.EROFS else "change its permissions or "
        return TailproofError(
            f"cannot write {path}: {folder} is not writable; {change}run in another folder"
        )
    advice = lacking(error) or "correct the path"
    return TailproofError(f"cannot write {path} ({error.strerror}): {advice}{kept}")


def _is_file(path: Path) -> bool:
    return os.access(path, os.F_OK) and path.is_file()


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


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)
    return Path(spec.origin).parent
