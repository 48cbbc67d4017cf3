"""Finds the files that a table lists, also where their names differ in what other systems ignore.

Windows writes backslashes and ignores capitals, macOS decomposes accents, and many tables leave
out the suffix. Folders are listed once each, which suits network disks.
"""

import errno
import re
import unicodedata
from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from posixpath import normpath, split
from typing import NamedTuple

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.archives.packed_files import describe_packed
from tailproof.data.sources.folders.filesystem import Folder, LeftOut
from tailproof.data.sources.problems import Problems
from tailproof.data.sources.tables.label_column import Where
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity
from tailproof.untrusted_text import is_encodable

SHOWN = 5  # missing files in a message
TRIED = 20  # names for which other folders are tried
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


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


class Found(NamedTuple):
    """The files of many listed paths.

    Attributes:
        paths: the path below root for each row; None if there is no such file.
        missing: the rows without a file, and what their files could be.
        warnings: what looks like a mistake in the names.
    """

    paths: list[str | None]
    missing: list[tuple[int, Match]]
    warnings: list[str]

    @property
    def existing(self) -> list[str]:
        """The paths of the rows with a file."""
        return [path for path in self.paths if path is not None]


class Placed(NamedTuple):
    """Where listed files should be.

    Attributes:
        paths: the path of each file below root.
        faults: by row, why a name cannot be used.
        warnings: what was changed in the names.
    """

    paths: list[str]
    faults: dict[int, str]
    warnings: list[str]


class FileFinder:
    """Finds files below a folder.

    Args:
        root: the folder.
        searched: folders below root; a picture that is not at its path in one of them may be in
            any folder below it.
    """

    def __init__(self, root: Path, searched: Collection[str] = ()) -> None:
        self._root = root
        self._searched = [normpath(folder) for folder in searched]
        self._names: dict[str, frozenset[str]] = {}
        self._alike: dict[str, dict[str, list[str]]] = {}
        self._below: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str) -> Match:
        """Return the file with this path below root, or the only one whose path is alike.

        Args:
            path: a normalized path, with its backslashes.
        """
        match = self._find_at(path)
        for folder in self._searched if match.path is None else ():
            inside = path if folder == "." else path.removeprefix(f"{folder}/")
            if folder == "." or inside != path:
                return self.find_below(folder, inside)
        return match

    def _find_at(self, path: str) -> Match:
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
            near = tuple(match) or self._other_suffix(folder, name) or self._padded(folder, name)
            return Match(None, near)
        found = f"{folder}/{match[0]}" if folder else match[0]
        listed = _composed("/".join([*folders, name])).strip()
        return Match(found, capitals=not _composed(found).startswith(listed))

    def find_below(self, folder: str, path: str) -> Match:
        """Return the only picture below a folder, at any depth, whose path ends in this one.

        Args:
            folder: a folder, relative to root.
            path: the end of a path, which may lack the suffix.
        """
        if folder not in self._below:
            self._below[folder] = self._pictures_below(folder)
        end = "/" + _key(normpath(path.replace("\\", "/")))
        name = end.rpartition("/")[2]
        below = self._below[folder]
        named = below.get(name, []) + below.get(PurePosixPath(name).stem, [])
        found = [
            path
            for path in dict.fromkeys(named)
            if end in (key := "/" + _key(path)) and key.rpartition(end)[2] in ("", *SUFFIXES)
        ]
        return Match(found[0]) if len(found) == 1 else Match(None, tuple(found))

    def find_all(self, listed: Sequence[str]) -> "Found":
        """Return the files of many paths."""
        paths: list[str | None] = []
        missing: list[tuple[int, Match]] = []
        capitals: list[str] = []
        for row, path in enumerate(listed):
            match = self.find(path)
            paths.append(match.path)
            if match.path is None:
                missing.append((row, match))
            elif match.capitals:
                capitals.append(f"'{match.path}'")
        warnings = []
        if capitals:
            warnings.append(
                f"{self._root}: for {len(capitals)} of {quantity(len(paths), 'file')}, the table "
                "and the name of the file differ in upper and lower case, for example "
                f"{capitals[0]}"
            )
        return Found(paths, missing, warnings)

    def missing_error(self, listed: Sequence[str], found: "Found", where: Where) -> TailproofError:
        """Build the error for listed files that do not exist."""
        row, match = found.missing[0]
        near = " and ".join(f"'{name}'" for name in match.near[:3])
        others = ", ".join(f"'{listed[row]}'" for row, _ in found.missing[1:SHOWN])
        packed = describe_packed(self._root / listed[row])
        verb = "is" if len(found.missing) == 1 else "are"
        return TailproofError(
            f"{where(row)}: {self._root / listed[row]} does not exist ({len(found.missing)} of "
            f"{quantity(len(listed), 'listed image')} {verb} missing"
            + (f", also {others}" if others else "")
            + (f"; {near} may be meant" if near else "")
            + "): "
            + (
                packed
                or "add the images, remove their rows, or correct the names or the folder of "
                "images in data.source"
            )
        )

    def place(self, names: Sequence[str], folder: str, file: Path) -> "Placed":
        """Return where listed files should be.

        Folders in front of names that are of another machine are left out: a list of
        ``/scratch/somebody/ImageNet/train/a.jpg`` is as good as one of ``train/a.jpg``.

        Args:
            names: the names as they are listed.
            folder: the folder, below root, that they are relative to.
            file: the file that lists them, for messages.
        """
        start = self._foreign_start(names, folder)
        plain = [name.replace("\\", "/").removeprefix(start) for name in names]
        faults = {row: fault for row, name in enumerate(plain) if (fault := fault_of(name))}
        warnings = []
        if start:
            warnings.append(
                f"{file}: '{start}' in front of file names is left out, because the images are in "
                f"{self._root / folder}"
            )
        return Placed([normpath(f"{folder}/{name}") for name in plain], faults, warnings)

    def find_listed(
        self,
        names: Sequence[str],
        folder: str,
        file: Path,
        where: Where,
        problems: Problems,
        *,
        skipped: LeftOut | None,
    ) -> "Found":
        """Return the files that a list names, after noting the names that cannot be used.

        Args:
            names: the names as they are listed.
            folder: the folder, below root, that they are relative to.
            file: the list, for messages.
            where: returns the place of a name in the list, for messages.
            problems: is checked after all names have been looked at.
            skipped: counts the files that do not exist; None if they are an error.

        Raises:
            TailproofError: a name cannot be used, or a file does not exist.
        """
        placed = self.place(names, folder, file)
        for row, fault in placed.faults.items():
            problems.add(where(row), fault)
        problems.check()
        found = self.find_all(placed.paths)
        for row, _ in found.missing:
            if skipped is None:
                raise self.missing_error(placed.paths, found, where)
            skipped.add("listed images that do not exist", placed.paths[row])
        return found._replace(warnings=placed.warnings + found.warnings)

    def _foreign_start(self, names: Sequence[str], folder: str) -> str:
        """Return what to remove from names so that a file exists; nothing if one exists."""
        tried = [name.replace("\\", "/") for name in names[:TRIED]]
        relative = [name for name in tried if not name.startswith("/")]
        if any(self.find(normpath(f"{folder}/{name}")).path for name in relative):
            return ""
        for name in tried:
            parts = name.split("/")
            for start in range(1, len(parts)):
                rest = "/".join(parts[start:])
                if ".." not in parts and self.find(normpath(f"{folder}/{rest}")).path:
                    return name[: len(name) - len(rest)]
        return ""

    def unlisted(self, paths: Collection[str]) -> list[str]:
        """Return the images in the folders of the listed files that are not among `paths`."""
        listed = (
            f"{folder}/{name}" if folder else name
            for folder, names in self._names.items()
            for name in names
            if PurePosixPath(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        )
        below = (chain.from_iterable(names.values()) for names in self._below.values())
        return sorted({*listed, *chain.from_iterable(below)}.difference(paths))

    def _pictures_below(self, folder: str) -> dict[str, list[str]]:
        """Return the paths of the pictures below a folder, by name without suffix."""
        names: dict[str, list[str]] = {}
        try:
            for path in Folder(self._root).files("" if folder == "." else folder):
                pure = PurePosixPath(path)
                if pure.suffix.lower() in SUFFIXES:
                    names.setdefault(_key(pure.stem), []).append(path)
        except OSError as error:
            raise unreadable(error.filename, error) from None
        return names

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

    def _padded(self, folder: str, name: str) -> tuple[str, ...]:
        """Return entries whose names begin with zeros, which a spreadsheet drops."""
        if not name[:1].isdecimal():
            return ()
        stem = _key(PurePosixPath(name).stem)
        return tuple(
            entry
            for entry in sorted(self._listing(folder))
            if entry.startswith("0") and _key(PurePosixPath(entry).stem).lstrip("0") == stem
        )

    def _like(self, folder: str, key: str) -> list[str]:
        if folder not in self._alike:
            alike: dict[str, list[str]] = {}
            for name in sorted(self._listing(folder)):
                alike.setdefault(_key(name), []).append(name)
            self._alike[folder] = alike
        return self._alike[folder].get(key, [])


def fault_of(filename: str) -> str | None:
    """Return why a file name cannot be used, as the rest of a sentence."""
    parts = filename.replace("\\", "/").split("/")
    if ADDRESS.match(filename):
        return (
            f"has the file name '{filename}', which is an address: download the image, and give "
            "its path relative to the folder of images"
        )
    if not is_encodable(filename) or "\0" in filename:
        return f"has the file name {filename!a}, which no file can have: correct it"
    if parts[0] == "" or (len(parts[0]) == 2 and parts[0].endswith(":")):
        return (
            f"has the file name '{filename}', which is an absolute path: give a path relative to "
            "the folder of images"
        )
    if ".." in parts:
        return (
            f"has the file name '{filename}', which is outside the folder of images: give a path "
            "inside that folder, without '..'"
        )
    return None


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return frozenset()
        raise unreadable(folder, error) from None
    except ValueError:
        raise TailproofError(f"{folder!a} has a zero byte in its name: correct the table") from None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    return _composed(_composed(name).casefold()).strip()
