"""Looks at what is in a folder of a user, to decide what it is; not every folder is opened."""

import os
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from tailproof.data.sources.folders.class_folders import is_picture
from tailproof.data.sources.folders.filesystem import Folder
from tailproof.data.sources.folders.split_names import split_kind

OPENED = 60  # folders of one folder that are opened
OPENED_IN_ALL = 2000
DEEPEST = 9  # levels of folders


@dataclass
class Surveyed:
    """A folder.

    Attributes:
        path: relative to the root of the survey; empty for the root.
        pictures: names of the pictures directly in it.
        files: names of other files directly in it.
        names: names of all folders in it.
        folders: the folders in it that were opened.
    """

    path: str
    pictures: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    folders: dict[str, "Surveyed"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def below(self) -> list["Surveyed"]:
        """Return this folder and the opened folders below it, from the top down."""
        return [self, *(inner for folder in self.folders.values() for inner in folder.below())]

    def seen(self) -> int:
        """Return the number of pictures in this folder and in those that were opened below it."""
        return sum(len(folder.pictures) for folder in self.below())

    def with_pictures(self) -> dict[str, "Surveyed"]:
        """Return the opened folders that contain pictures, at any depth."""
        return {name: folder for name, folder in self.folders.items() if folder.seen()}


def survey_folder(root: Path) -> Surveyed:
    """Look at a folder; of many folders in one folder, an even share is opened.

    Hidden files and leftovers of other software are passed over, and so are folders that cannot be
    read and links to a folder that contains them.
    """
    tree, top = Folder(root), Surveyed("")
    real = Path(os.path.realpath(root))
    pending, opened = deque([(top, 0, [str(real), *map(str, real.parents)])]), 0
    while pending:
        folder, depth, above = pending.popleft()
        try:
            folders, files = tree.entries(folder.path)
        except OSError:
            if folder is top:
                raise
            continue
        reals = {name: _real(f"{above[0]}/{name}", folders[name]) for name in folders}
        folder.names = [name for name, real in reals.items() if real not in above]
        folder.pictures = [name for name in files if is_picture(name)]
        folder.files = [name for name in files if not is_picture(name)]
        if depth == DEEPEST:
            continue
        step = max(1, len(folder.names) // OPENED)
        for name in folder.names[::step][: max(OPENED_IN_ALL - opened, 0)]:
            opened += 1
            inner = Surveyed(f"{folder.path}/{name}" if folder.path else name)
            folder.folders[name] = inner
            pending.append((inner, depth + 1, [reals[name], *above]))
    return top


def _real(path: str, is_link: bool) -> str:
    return os.path.realpath(path) if is_link else path


def split_kinds(names: list[str], *, files: bool = False) -> dict[str, str | None]:
    """Return the split that each name stands for; words that all names share do not count.

    ISIC_Training_Input and ISIC_Test_Input are the names of a training and of a test set.

    Args:
        names: names of folders, or of files without their suffix.
        files: whether one word is enough, as in FungiTastic-ClosedSet-Test.
    """
    words = {name: re.findall(r"[a-z]+|\d+", _spaced(name)) for name in names}
    counts = Counter(word for each in words.values() for word in set(each))
    shared = {word for word, count in counts.items() if count == len(names) and len(names) > 1}
    kinds = {
        name: split_kind(name) or split_kind(" ".join(word for word in each if word not in shared))
        for name, each in words.items()
    }
    for name, each in words.items() if files else ():
        found = {split_kind(word) for word in each} - {None}
        if len(found) == 1:
            kinds[name] = kinds[name] or found.pop()
    return kinds


def _spaced(name: str) -> str:
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
