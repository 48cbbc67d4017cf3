"""Walks folders and reads files, with one clear sentence for each failure."""

import os
from collections.abc import Iterator
from pathlib import Path

from tailproof.untrusted_files import read_bytes

LARGEST = 2**30  # bytes of one file


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
    """Return the bytes of an image file.

    Raises:
        TailproofError: it is missing, not a regular file, too large, or not readable.
    """
    return read_bytes(path, limit=LARGEST)


def are_splits(names: set[str]) -> bool:
    """Return whether lower-case names are those of a training set and another set, not classes."""
    return "train" in names and bool(names & {"test", "val", "valid", "validation"})


def _fail(error: OSError) -> None:
    raise error
