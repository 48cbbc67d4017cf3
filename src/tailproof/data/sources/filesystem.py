"""Walks folders and reads files, with one clear sentence for each failure."""

import os
from collections.abc import Iterator
from pathlib import Path

from tailproof.runtime.errors import TailproofError


def walk(folder: Path) -> Iterator[Path]:
    """Yield the visible files below `folder`. Links are followed; each folder is visited once.

    Raises:
        OSError: a folder cannot be read.
    """
    seen = set()
    for parent, folders, names in os.walk(folder, onerror=_fail, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not hidden(name))
        yield from (Path(parent, name) for name in names if not hidden(name))


def hidden(name: str) -> bool:
    """Return whether a file or folder is hidden by its name."""
    return name.startswith(".")


def read_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        TailproofError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise TailproofError(f"{path} cannot be read: {error.strerror}") from None


def are_splits(names: set[str]) -> bool:
    """Return whether lower-case names are those of a training set and another set, not classes."""
    return "train" in names and bool(names & {"test", "val", "valid", "validation"})


def _fail(error: OSError) -> None:
    raise error
