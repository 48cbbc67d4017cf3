"""Checks that the folders of a collection are its classes: not splits, and not one level off."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations, count
from pathlib import Path, PurePosixPath

import yaml

from tailproof.data.sources.folders.split_names import are_splits, split_kind
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed

SIMILAR = 0.8  # share of folder names that two folders have in common, for them to be alike
COMPARED = 60  # folders that are compared in pairs
SHOWN = 4  # names in a sentence

MASKS = re.compile(
    r".*(masks?|ground[ _-]?truths?|annotations?|segmentations?)|segmentation[ _-]?(class|object)s?"
    r"|(gt|seg|labels?)",
    re.IGNORECASE,
)
"""Names of folders of masks, which are drawings of what is where in a picture."""


@dataclass(frozen=True)
class Place:
    """A folder of class folders, and the configuration that names it.

    Attributes:
        root: the field `root`.
        pools: the folders that the fields `train`, `val` and `test` name; empty without a test set.
        pool: the one of these fields that names this folder; empty if it is the root.
    """

    root: str
    pools: Mapping[str, str] = field(default_factory=dict)
    pool: str = ""

    def __str__(self) -> str:
        return str(PurePosixPath(self.root, self.pools.get(self.pool, "")))

    def moved(self, path: str) -> str:
        """Return the configuration that names the folder `path` below this one instead."""
        if not self.pool:
            return source_yaml(f"{self}/{path}")
        folder = f"{self.pools[self.pool]}/{path}"
        return source_yaml(self.root, **{**self.pools, self.pool: folder})


@dataclass
class Level:
    """A folder of pictures: how many are directly in it, and its folders that have pictures."""

    pictures: int = 0
    folders: dict[str, "Level"] = field(default_factory=dict)


def source_yaml(root: str, **fields: str) -> str:
    """Return the line of an experiment that names folders of class folders."""
    value = {"data": {"source": {"name": "image_folder", "root": root, **fields}}}
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**20
    )
    return f"`{text.strip()[1:-1]}`"


def new_table(folder: Path) -> Path:
    """Return the path of a table of labels that does not exist yet in a folder."""
    names = (f"labels{number or ''}.csv" for number in count())
    return next(folder / name for name in names if not (folder / name).exists())


def quoted(names: Iterable[str], shown: int = SHOWN) -> str:
    """Return names for a sentence."""
    return listed([f"'{name}'" for name in names], shown)


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
    inner = {name: _descend(name, folder) for name, folder in level.folders.items()}
    classes = {name: folder.folders.keys() for name, (_, folder) in inner.items()}
    is_train = [name for name in classes if split_kind(name) == "train" and len(classes[name]) > 1]
    if are_splits(classes) or (is_train and len(classes) > 1):
        folder = f"{place}/{path}" if path else str(place)
        paths_below = {name: inside for name, (inside, _) in inner.items()}
        raise TailproofError(_describe_splits(folder, paths_below, classes))
    if path and len(classes) > 1:
        raise TailproofError(
            f"{place} contains one class folder, '{path.split('/')[0]}', with the folders "
            f"{quoted(classes)} in it: if these are the classes, write {place.moved(path)}"
        )
    for name, folders in classes.items():
        if are_splits(folders):
            raise TailproofError(_describe_inner_splits(str(place), name, folders))
    _refuse_alike(str(place), classes)


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


def _describe_splits(
    folder: str, paths: Mapping[str, str], classes: Mapping[str, Collection[str]]
) -> str:
    """Describe a folder that contains splits.

    Args:
        folder: the folder.
        paths: for each folder in it, the path of its class folders.
        classes: for each folder in it, the class folders.
    """
    kinds = sorted(name for name in classes if split_kind(name))
    verb = "are splits, not classes" if len(kinds) > 1 else "is a split, not a class"
    sentence = f"{folder}: {quoted(kinds)} {verb}"
    trains = [name for name in kinds if split_kind(name) == "train" and classes[name]]
    if not trains:
        return (
            f"{sentence}, but the training set has no class folders: sort the pictures of each "
            "class into a folder of its own, or list files and labels in a table and use the "
            "source metadata_csv"
        )
    train = max(trains, key=lambda name: (len(classes[name]), -len(name)))
    shared = {name: len(set(classes[name]) & set(classes[train])) for name in kinds}
    others = {
        kind: max(
            (name for name in kinds if split_kind(name) == kind and shared[name]),
            key=lambda name: shared[name],
            default=None,
        )
        for kind in ("val", "test")
    }
    if others["test"] is None:
        others = {"val": None, "test": others["val"]}
    chosen = {"train": train} | {kind: name for kind, name in others.items() if name}
    unused = [name for name in classes if name not in chosen.values()]
    note = f"; the pictures in {quoted(unused)} are then left out" if unused else ""
    fields = {kind: paths[name] for kind, name in chosen.items()}
    return f"{sentence}: write {source_yaml(folder, **fields)}{note}"


def _describe_inner_splits(place: str, name: str, folders: Iterable[str]) -> str:
    by_kind = {split_kind(folder): folder for folder in sorted(folders, reverse=True)}
    train = by_kind["train"]
    fields = {kind: by_kind[kind] for kind in ("train", "val", "test") if kind in by_kind}
    if "test" not in fields:
        fields["test"] = fields.pop("val")
    return (
        f"{place}: the class folders contain splits ({quoted(f'{name}/{f}' for f in folders)}), "
        f"which would be mixed: put the splits above the classes, as in {place}/{train}/{name}, "
        f"and write {source_yaml(place, **fields)}"
    )


def _refuse_alike(place: str, classes: Mapping[str, Iterable[str]]) -> None:
    """Refuse folders that contain the same folders: either these or those are the classes."""
    several = {name: frozenset(folders) for name, folders in classes.items()}
    several = {name: folders for name, folders in several.items() if len(folders) > 1}
    alike = next(alike_folders(several), None)
    if alike is None:
        return
    below = sorted(several[alike[0]] & several[alike[1]])
    masks = [name for name in (*below, *alike) if MASKS.fullmatch(name)]
    if masks:
        raise TailproofError(
            f"{place}: {quoted(alike)} contain the folders {quoted(below)}: if {quoted(masks)} are "
            f"masks and not samples, move them out of {place}"
        )
    example = f", such as {source_yaml(place, train=alike[0], test=alike[1])}"
    raise TailproofError(
        f"{place}: {quoted(alike)} contain the same folders, {quoted(below)}. If "
        f"{quoted(below, 2)} are the classes, merge the folders above them, or name one for "
        f"training and one for testing{example if len(alike) <= SHOWN + 1 else ''}. If "
        f"{quoted(alike, 2)} are the classes, put the pictures of each directly into its folder, "
        "or list files and labels in a table and use the source metadata_csv"
    )


def alike_folders(names: Mapping[str, frozenset[str]]) -> Iterator[list[str]]:
    """Yield groups of folders with the same folder names, then pairs with nearly the same."""
    equal: dict[frozenset[str], list[str]] = {}
    for name, folders in names.items():
        equal.setdefault(folders, []).append(name)
    yield from (group for group in equal.values() if len(group) > 1)
    for first, second in combinations(list(names)[:COMPARED], 2):
        shared = len(names[first] & names[second])
        if shared > 1 and shared >= SIMILAR * len(names[first] | names[second]):
            yield [first, second]
