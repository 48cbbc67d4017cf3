"""Finds the files that a table lists, also where their names differ in what other systems ignore.

Windows writes backslashes and ignores capitals, macOS decomposes accents, and many tables leave
out the suffix. Folders are listed once each, which suits network disks.
"""

import unicodedata
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from posixpath import normpath, split
from typing import NamedTuple

from tailproof.data.image_formats import SUFFIXES
from tailproof.runtime.errors import TailproofError


class Match(NamedTuple):
    """The file that a table lists.

    Attributes:
        path: the path of the file below root; None if there is no such file, or are several.
        near: the names of files that it could be, if `path` is None.
        capitals: whether the name of the file has other capitals than the table.
    """

    path: str | None
    near: tuple[str, ...] = ()
    capitals: bool = False


class FileFinder:
    """Finds files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, frozenset[str]] = {}
        self._alike: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str) -> Match:
        """Return the file with this path below root, or the only one whose path is alike.

        Args:
            path: a normalized path, with its backslashes.
        """
        folder, name = split(path)
        if name in self._listing(folder):
            return Match(path)
        *folders, name = normpath(path.replace("\\", "/")).split("/")
        folder = ""
        for part in folders:
            match = self._entry(folder, part)
            if len(match) != 1:
                return Match(None, tuple(match))
            folder = f"{folder}/{match[0]}" if folder else match[0]
        match = self._entry(folder, name) or self._with_suffix(folder, name)
        if len(match) != 1:
            return Match(None, tuple(match) or self._other_suffix(folder, name))
        found = f"{folder}/{match[0]}" if folder else match[0]
        listed = _composed("/".join([*folders, name])).strip()
        return Match(found, capitals=not _composed(found).startswith(listed))

    def unlisted(self, paths: Collection[str]) -> list[str]:
        """Return the images in the folders of the listed files that are not among `paths`."""
        return sorted(
            path
            for folder, names in self._names.items()
            for name in names
            if PurePosixPath(name).suffix.lower() in SUFFIXES
            and not name.startswith(".")
            and (path := f"{folder}/{name}" if folder else name) not in paths
        )

    def _listing(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            self._names[folder] = _names(self._root / folder)
        return self._names[folder]

    def _entry(self, folder: str, name: str) -> list[str]:
        """Return the entry of a folder with this name, or else all whose names are alike."""
        return [name] if name in self._listing(folder) else self._like(folder, _key(name))

    def _with_suffix(self, folder: str, name: str) -> list[str]:
        key = _key(name)
        return [entry for suffix in SUFFIXES for entry in self._like(folder, key + suffix)]

    def _other_suffix(self, folder: str, name: str) -> tuple[str, ...]:
        return tuple(self._with_suffix(folder, PurePosixPath(name).stem))

    def _like(self, folder: str, key: str) -> list[str]:
        if folder not in self._alike:
            alike: dict[str, list[str]] = {}
            for name in sorted(self._listing(folder)):
                alike.setdefault(_key(name), []).append(name)
            self._alike[folder] = alike
        return self._alike[folder].get(key, [])


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise TailproofError(f"{folder} cannot be read: {error.strerror}") from None
    except ValueError:
        raise TailproofError(f"{folder!a} has a zero byte in its name: correct the table") from None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    return _composed(_composed(name).casefold()).strip()
