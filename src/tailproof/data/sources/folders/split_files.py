"""Finds the files of one collection among others: its official sets, and the pictures they list."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tailproof.data.sources.base import Recognition
from tailproof.data.sources.folders.split_names import split_kind
from tailproof.data.sources.tables.listed_files import FileFinder
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed

FOLDERS = 100  # folders that are looked into
LETTERS = re.compile(r"[a-z]+")


class SplitFiles(NamedTuple):
    """Files of one collection.

    Attributes:
        sets: by ``train``, ``val`` and ``test`` the file of the set; one file without a key if
            there are no sets.
        others: files of other collections.
    """

    sets: dict[str, Path]
    others: list[Path]


def choose_split_files(files: Iterable[Path], wanted: Path | None = None) -> SplitFiles:
    """Return the files of the collection that has the most sets, or that one file belongs to.

    Of equal collections it is the largest: files with boxes are often those of a part.

    The names of the sets of a collection differ in a word such as train: ImageNet_LT_train.txt and
    ImageNet_LT_test.txt belong together. So do files of one name in folders that differ in this
    word. If there is a val, but no test, val is the test set.
    """
    families: dict[tuple[str, ...], dict[str, Path]] = {}
    for file in sorted(files, key=lambda file: (len(file.name), str(file))):
        words, word = _words(file.stem)
        folder = str(file.parent)
        if not word and (word := _words(file.parent.name)[1]):
            folder = str(file.parent.parent)
        family = (folder, *(other for other in words if other != word))
        families.setdefault(family, {}).setdefault(split_kind(word) or "", file)
    groups = list(families.values())
    if wanted is not None:
        groups = [group for group in groups if wanted in group.values()] or [{"": wanted}]
    sets = max(groups, key=_weight)
    others = [file for group in families.values() for file in group.values()]
    if "test" not in sets and "train" in sets and "val" in sets:
        sets = {"train": sets["train"], "test": sets["val"]}
    if not {"train", "test"} <= sets.keys() or (wanted and wanted not in sets.values()):
        sets = {"": wanted or next(iter(sets.values()))}
    sets = {kind: sets[kind] for kind in ("", "train", "val", "test") if kind in sets}
    return SplitFiles(sets, [file for file in others if file not in sets.values()])


def _weight(group: Mapping[str, Path]) -> tuple[bool, int, int]:
    """Return what the chosen group has the most of: a training set, sets, and bytes."""
    size = sum(file.stat().st_size for file in group.values())
    return not group.keys() <= {"val", "test"}, len(group), size


def as_pools(
    sets: Mapping[str, Path], root: Path, field: str, folders: Mapping[str, str]
) -> dict[str, Any]:
    """Return the part of a source's configuration that names the files of sets.

    Args:
        sets: the file of each set.
        root: the folder that paths are relative to.
        field: the field that names a file.
        folders: by set, the folder of the pictures.
    """
    pools: dict[str, Any] = {}
    for kind, file in sets.items():
        entry = {field: file.absolute().relative_to(root.absolute()).as_posix()}
        entry["images"] = folders[kind]
        if entry["images"] == ".":
            del entry["images"]
        pools |= entry if kind == "" else {kind: entry}
    return pools


def recognition_of(
    source: dict[str, Any], reason: str, chosen: SplitFiles, *, missing: bool
) -> Recognition:
    """Return the recognition of chosen files: what is missing, and what is another collection.

    It is not sure if there is one set, whose name is that of a validation or test set: the training
    set may be elsewhere.

    Args:
        source: the configuration that reads the files.
        reason: the evidence.
        chosen: the files.
        missing: whether some of the pictures are missing.
    """
    if missing:
        source = source | {"on_missing_image": "skip"}
        reason += "; pictures that do not exist are left out"
    alone = chosen.sets.get("")
    kind = alone and set_kind(alone)
    doubts = []
    if kind in ("val", "test"):
        doubts.append(
            f"{alone} is the only file that is read, but its name or that of its folder is that of "
            f"a {'validation' if kind == 'val' else 'test'} set"
        )
    if chosen.others:
        doubts.append(
            f"not read: {file_names(chosen.others)}; if one of these is the right one, import it "
            "by its own path"
        )
    return Recognition(source, reason, sure=kind not in ("val", "test"), doubts=tuple(doubts))


def set_kind(file: Path) -> str | None:
    """Return the set that the name of a file, or else of its folder, says that it lists."""
    return split_kind(_words(file.stem)[1]) or split_kind(_words(file.parent.name)[1])


def file_names(files: Iterable[Path]) -> str:
    """Return the names of files for a sentence, with their folders if they have one name."""
    files = list(files)
    several = len({file.name for file in files}) < len(files)
    return listed([f"{file.parent.name}/{file.name}" if several else file.name for file in files])


def files_near(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files with some suffixes in a folder and in the folders in it."""
    found = []
    for place in [".", *islice(_folders(folder), FOLDERS)]:
        with suppress(OSError), os.scandir(folder / place) as entries:
            found += [
                folder / place / entry.name
                for entry in entries
                if PurePosixPath(entry.name).suffix.lower() in suffixes and entry.is_file()
            ]
    return sorted(found)


def place_sets(
    path: Path, sets: Mapping[str, Path], names: Mapping[str, Sequence[str]]
) -> tuple[Path, dict[str, str], bool]:
    """Find the pictures of all sets.

    Args:
        path: what the user named. If it is a file, the pictures may be next to its folder.
        sets: the file of each set.
        names: for each set, the names of some pictures as its file lists them.

    Returns:
        The folder that contains the files and the pictures, by set the folder below it that the
        names are relative to, and whether some of the pictures are missing.

    Raises:
        TailproofError: the pictures of a set are not found.
    """
    folder = path if path.is_dir() else path.parent
    roots = [folder] if path.is_dir() else [folder, folder.absolute().parent]
    for root in roots:
        found = {kind: _find_pictures(root, names[kind], file) for kind, file in sets.items()}
        places = {kind: place for kind, place in found.items() if place is not None}
        if len(places) == len(found):
            incomplete = any(share < 1 for _, share in places.values())
            return root, {kind: place for kind, (place, _) in places.items()}, incomplete
    kind = next(kind for kind, place in found.items() if place is None)
    raise TailproofError(
        f"{sets[kind]} lists pictures such as '{names[kind][0]}', but they are neither in "
        f"{' or '.join(map(str, roots))} nor in folders up to two levels below: put the file and "
        "the folder that these paths start in into one folder"
    )


def _find_pictures(root: Path, names: Sequence[str], file: Path) -> tuple[str, float] | None:
    """Return the folder that most names are relative to, and the share that exists there.

    Sets may have the same names, so folders of the same set as the file come first, and those of
    other sets last.
    """
    finder, best, most = FileFinder(root), None, 0.0
    kind = split_kind(_words(file.stem)[1])
    order = {kind: 0, None: 1}
    folders = sorted(
        islice(_folders(root), FOLDERS),
        key=lambda folder: order.get(split_kind(_words(PurePosixPath(folder).name)[1]), 2),
    )
    for folder in [".", *folders]:
        placed = finder.place(names, folder, file)
        found = [] if placed.faults else finder.find_all(placed.paths).paths
        share = sum(path is not None for path in found) / max(len(names), 1)
        if share > most:
            best, most = (folder, share), share
        if share == 1:
            break
    return best


def _words(name: str) -> tuple[list[str], str]:
    """Return the words in a name, and the last one that names a set; empty if none does."""
    words = LETTERS.findall(name.lower())
    return words, next((word for word in reversed(words) if split_kind(word)), "")


def _folders(root: Path) -> Iterator[str]:
    """Yield the folders in a folder and those in them, relative to it, without hidden ones."""
    level = [""]
    for _ in range(2):
        deeper = []
        for folder in level[:FOLDERS]:
            with suppress(OSError), os.scandir(root / folder) as entries:
                deeper += sorted(
                    f"{folder}/{entry.name}".removeprefix("/")
                    for entry in entries
                    if entry.name[0] != "." and entry.is_dir()
                )
        yield from deeper
        level = deeper
