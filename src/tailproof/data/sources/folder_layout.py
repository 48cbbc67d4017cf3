"""Checks that the folders of a collection are its classes: not splits, and not one level off."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import PurePosixPath

import yaml

from tailproof.data.sources.split_names import are_splits, split_kind
from tailproof.runtime.errors import TailproofError

SIMILAR = 0.8  # share of folder names that two folders have in common, for them to be alike
COMPARED = 60  # folders that are compared in pairs


@dataclass(frozen=True)
class Place:
    """A folder of class folders, and the configuration that names it.

    Attributes:
        root: the field `root`.
        train: the field `train`.
        test: the field `test`.
        below: the one of the two that this folder is; empty if it is the root.
    """

    root: str
    train: str | None = None
    test: str | None = None
    below: str = ""

    def __str__(self) -> str:
        return str(PurePosixPath(self.root, self.below))

    def moved(self, path: str) -> str:
        """Return the configuration that names the folder `path` below this one instead."""
        if self.test is None:
            return source_yaml(f"{self}/{path}")
        folder = f"{self.below}/{path}"
        if self.below == self.train:
            return source_yaml(self.root, train=folder, test=self.test)
        return source_yaml(self.root, train=self.train, test=folder)


@dataclass
class Level:
    """A folder of pictures: how many are directly in it, and its folders that have pictures."""

    pictures: int = 0
    folders: dict[str, "Level"] = field(default_factory=dict)


def source_yaml(root: str, **fields: str) -> str:
    """Return the lines of an experiment that name a folder of class folders."""
    value = {"data": {"source": {"name": "image_folder", "root": root, **fields}}}
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**20
    )
    return f"`{text.strip()[1:-1]}`"


def list_names(names: Iterable[str], shown: int = 4) -> str:
    """Return quoted names for a message: the first few, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(f"'{name}'" for name in names[:shown]) + more


def check_layout(place: Place, paths: Iterable[str]) -> None:
    """Check the levels of a folder of class folders.

    Args:
        place: the folder.
        paths: the pictures, relative to the folder.

    Raises:
        TailproofError: the folders look like splits, contain splits, or contain the classes instead
            of being them.
    """
    top = _levels(paths)
    path, level = _descend("", top)
    if are_splits(level.folders):
        raise TailproofError(_describe_splits(place, path, level))
    if path and len(level.folders) > 1:
        raise TailproofError(
            f"{place} contains one class folder, '{path.split('/')[0]}', and the folders "
            f"{list_names(level.folders)} are below it: if these are the classes, write "
            f"{place.moved(path)}"
        )
    inner = {name: _descend(name, folder)[1] for name, folder in top.folders.items()}
    for name, folder in inner.items():
        if are_splits(folder.folders):
            splits = list_names(f"{name}/{split}" for split in folder.folders)
            raise TailproofError(
                f"{place}: the class folders contain splits ({splits}), which would be mixed: put "
                f"the splits above the classes, as in {place}/{next(iter(folder.folders))}/{name}, "
                f"and write {_name_splits(str(place), {n: n for n in folder.folders})}"
            )
    _refuse_alike(place, inner)


def _levels(paths: Iterable[str]) -> Level:
    top = Level()
    for folder, pictures in Counter(path.rpartition("/")[0] for path in paths).items():
        level = top
        for name in folder.split("/"):
            level = level.folders.setdefault(name, Level())
        level.pictures += pictures
    return top


def _descend(path: str, level: Level) -> tuple[str, Level]:
    """Go down as long as all that a folder contains is one folder that contains folders."""
    while not level.pictures and len(level.folders) == 1:
        ((name, only),) = level.folders.items()
        if not only.folders:
            break
        path, level = f"{path}/{name}" if path else name, only
    return path, level


def _describe_splits(place: Place, path: str, level: Level) -> str:
    folder = f"{place}/{path}" if path else str(place)
    kinds = [name for name in level.folders if split_kind(name)]
    sentence = f"{folder} contains the folders {list_names(kinds)}, which are splits, not classes"
    inner = {name: _descend(name, level.folders[name]) for name in kinds}
    paths = {name: inside for name, (inside, folders) in inner.items() if folders.folders}
    if not any(split_kind(name) == "train" for name in paths):
        return (
            f"{sentence}, and contain no class folders: sort the pictures of each class into a "
            "folder of its own, or list the files and their labels in a table and use metadata_csv"
        )
    return f"{sentence}: write {_name_splits(folder, paths)}"


def _name_splits(root: str, paths: dict[str, str]) -> str:
    """Return the configuration for splits.

    Args:
        root: the folder that contains the splits.
        paths: for each name of a split the path, below root, of its class folders.
    """
    ordered = sorted(paths, key=len)
    of_kind = {
        kind: next((name for name in ordered if split_kind(name) == kind), None)
        for kind in ("train", "test", "val")
    }
    chosen = {"train": of_kind["train"], "test": of_kind["test"] or of_kind["val"]}
    fields = {key: paths[name] for key, name in chosen.items() if name}
    unused = [name for name in paths if name not in chosen.values()]
    note = f" (the pictures in {list_names(unused)} are then left out)" if unused else ""
    return source_yaml(root, **fields) + note


def _refuse_alike(place: Place, inner: dict[str, Level]) -> None:
    """Refuse folders that contain the same folders: either these or those are the classes."""
    names = {name: frozenset(level.folders) for name, level in inner.items()}
    alike = next(_alike({name: below for name, below in names.items() if len(below) > 1}), None)
    if alike is None:
        return
    first, second = alike[:2]
    below = sorted(names[first] & names[second])
    yaml_lines = source_yaml(str(place), train=first, test=second)
    raise TailproofError(
        f"{place}: the folders {list_names(alike)} contain the same folders ({list_names(below)}), "
        f"so it is open which of them are the classes: if {list_names(below, 2)} are, merge the "
        f"folders above them, or name one for training and one for testing, such as {yaml_lines}; "
        f"if {list_names(alike, 2)} are, move the samples of each class out of its folders, and "
        "whatever is no sample (such as masks) out of the root"
    )


def _alike(names: dict[str, frozenset[str]]) -> Iterator[list[str]]:
    """Yield groups of folders with the same folder names, then pairs with nearly the same."""
    equal: dict[frozenset[str], list[str]] = {}
    for name, below in names.items():
        equal.setdefault(below, []).append(name)
    yield from (group for group in equal.values() if len(group) > 1)
    for first, second in combinations(list(names)[:COMPARED], 2):
        shared = len(names[first] & names[second])
        if shared > 1 and shared >= SIMILAR * len(names[first] | names[second]):
            yield [first, second]
