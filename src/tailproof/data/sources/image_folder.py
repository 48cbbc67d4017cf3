"""A folder of image files with one sub-folder per class."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations, permutations, zip_longest
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, model_validator

from tailproof.config.data import BelowRoot, PictureSourceConfig, RankColumns, check_pools
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.sources.base import (
    Recognition,
    Sample,
    Skipped,
    register_source,
)
from tailproof.data.sources.folders.class_folders import is_picture, list_classes, warn_of_files
from tailproof.data.sources.folders.class_names import check_names, twin_of, warn_of_similar_names
from tailproof.data.sources.folders.filesystem import Folder, no_folder
from tailproof.data.sources.folders.folder_layout import Place, check_layout, quoted
from tailproof.data.sources.folders.layout_recognition import recognize_class_folders
from tailproof.data.sources.folders.split_names import split_kind
from tailproof.data.sources.picture_source import PictureSource
from tailproof.data.sources.tables.rank_labels import Labels
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


class ImageFolder(PictureSourceConfig):
    """One folder per class, in root or in separate train and test folders."""

    name: Literal["image_folder"]
    root: str = Field(min_length=1, description="Folder that contains the class folders.")
    train: BelowRoot | None = Field(
        None, description="Sub-folder with the class folders of the training pool."
    )
    val: BelowRoot | None = Field(
        None,
        description="Sub-folder with the class folders of the official validation set, which "
        "becomes the split val.",
    )
    test: BelowRoot | None = Field(
        None, description="Sub-folder with the class folders of the held-out pool."
    )
    ranks: RankColumns = Field(
        ["class"],
        description="Names of the levels of folders, coarse to fine: [family, species] for "
        "FAMILY/SPECIES/IMAGE. A picture in a folder of a coarser rank has no label at the finer "
        "ranks.",
    )
    group: Literal["folder"] | None = Field(
        None,
        description="folder: all pictures in one folder inside a class folder stay in one split, "
        "such as those of a patient or a night. Default: every picture is independent.",
    )

    @model_validator(mode="after")
    def _separate_pools(self) -> "ImageFolder":
        check_pools(self.train, self.val, self.test, None)
        for (first, _), (second, _) in permutations(self.pools, 2):
            if PurePosixPath(first).is_relative_to(second):
                raise ValueError(
                    f"the pools '{first}' and '{second}' overlap, so an image would be in both: "
                    "name folders that do not contain each other"
                )
        return self

    @property
    def pools(self) -> list[tuple[str, str | None]]:
        """The folder, below root, and the name of each pool; the folder of the root is empty."""
        if self.test is None:
            return [(_plain(self.train), None)]
        folders = {TRAIN: self.train, VAL: self.val, HELD_OUT: self.test}
        return [(_plain(folder), pool) for pool, folder in folders.items() if folder]


FIELDS = {TRAIN: "train", VAL: "val", HELD_OUT: "test"}
"""The field of the configuration that names each pool."""


@dataclass(frozen=True)
class Pool:
    """The pictures of a folder of class folders.

    Attributes:
        folder: the folder, relative to root; empty if it is the root.
        name: the pool of its samples.
        folders: by top folder the sorted paths of its pictures, relative to root.
        classes: by rank, coarse to fine, the number of pictures of each class.
    """

    folder: str
    name: str | None
    folders: dict[str, list[str]]
    classes: dict[str, Counter[str]]

    def paths(self) -> Iterator[str]:
        """Return the paths of all pictures, in order."""
        return chain.from_iterable(self.folders.values())

    def folders_of(self, path: str) -> list[str]:
        """Return the names of the folders that a picture is in, from the class folder inwards."""
        return path[len(self.folder) + bool(self.folder) :].split("/")[:-1]


@register_source(ImageFolder)
class ImageFolderSource(PictureSource[ImageFolder]):
    """Image files below root/CLASS, or below root/TRAIN/CLASS and root/TEST/CLASS.

    Classes are the sorted folder names, on as many levels as there are ranks. Images may be in
    sub-folders of a class folder. Links are followed. The id and the path of a sample are its path
    below root.
    """

    def __init__(self, config: ImageFolder) -> None:
        super().__init__(config)
        self.ranks = tuple(config.ranks)
        self._tree = Folder(self.root)

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return the class folders in a folder of pictures."""
        return recognize_class_folders(path)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The sorted folder names of each rank."""
        return {rank: sorted(counts) for rank, counts in self._counts.items()}

    def files(self) -> list[Path]:
        """Return every image file. The folders are walked once."""
        return [self.root / path for pool in self._pools for path in pool.paths()]

    def __len__(self) -> int:
        return sum(len(paths) for pool in self._pools for paths in pool.folders.values())

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in the order of pool, class and path."""
        for pool in self._pools:
            for path in pool.paths():
                names = pool.folders_of(path)
                finest = len(self.ranks)
                labels = dict(zip_longest(self.ranks, names[:finest]))
                grouped = self.config.group and len(names) > finest
                group = "/".join(names[: finest + 1]) if grouped else None
                yield Sample(path, labels, path, pool=pool.name, group=group)

    def skipped(self) -> list[Skipped]:
        """Return what is in the folders, or next to them, and is no sample."""
        if not self._pools:
            return []
        unnamed = [
            Skipped(f"pictures in {folder}, which data.source does not name", len(paths), paths[:3])
            for folder, paths in self._unnamed.items()
        ]
        return [*self._tree.left_out.skipped(), *unnamed]

    def warnings(self) -> list[str]:
        """Return sentences about folders, names and files that look like mistakes."""
        sentences = [*self._warn_of_pools(), *warn_of_similar_names(self._counts[self.ranks[-1]])]
        for pool in self._pools:
            depth = len(self.ranks) + bool(pool.folder) + pool.folder.count("/")
            sentences += warn_of_files(pool.folders, depth, grouped=self.config.group is not None)
        return sentences

    @cached_property
    def _pools(self) -> list[Pool]:
        if self.config.test is None:
            pool = self._pool(*self.config.pools[0])
            self._check(pool, Place(str(self.root / pool.folder)))
            return [pool]
        pools = [self._pool(folder, name) for folder, name in self.config.pools]
        for first, second in combinations([self.root / pool.folder for pool in pools], 2):
            if first.samefile(second):
                raise TailproofError(
                    f"{first} and {second} are the same folder: correct data.source"
                )
        fields = {FIELDS[pool.name]: pool.folder for pool in pools if pool.name}
        for pool in pools:
            self._check(pool, Place(str(self.root), fields, FIELDS.get(pool.name or "", "")))
        for pool in pools[1:]:
            self._refuse_unlearnable(pools[0], pool)
        return pools

    @cached_property
    def _counts(self) -> dict[str, Counter[str]]:
        counts: dict[str, Counter[str]] = {rank: Counter() for rank in self.ranks}
        for pool in self._pools:
            for rank, classes in pool.classes.items():
                counts[rank].update(classes)
        return counts

    def _pool(self, folder: str, name: str | None) -> Pool:
        if not (self.root / folder).is_dir():
            field = FIELDS.get(name or TRAIN, "train") if self.root.is_dir() else "root"
            raise no_folder(self.root / folder, f"data.source.{field}")
        try:
            pool = Pool(folder, name, list_classes(self._tree, folder), {})
        except OSError as error:
            raise unreadable(error.filename, error) from None
        if len(self.ranks) == 1:
            counts = {name: len(paths) for name, paths in pool.folders.items()}
            pool.classes[self.ranks[0]] = Counter(counts)
            return pool
        names = [pool.folders_of(path) for path in pool.paths()]
        for depth, rank in enumerate(self.ranks):
            pool.classes[rank] = Counter(each[depth] for each in names if len(each) > depth)
        return pool

    def _check(self, pool: Pool, place: Place) -> None:
        """Check the names and the levels of the folders of a pool."""
        paths = list(pool.paths())
        wrong = [path for path in paths if not path.isascii() and not _is_text(path)]
        if wrong:
            raise TailproofError(
                f"{self.root} contains {quantity(len(wrong), 'file name')} not in valid UTF-8, "
                f"such as {wrong[0]!a}: rename these files (convmv converts names from other "
                "encodings)"
            )
        if len(self.ranks) == 1:
            prefix = len(pool.folder) + 1 if pool.folder else 0
            check_layout(place, (path[prefix:] for path in paths))
        else:
            labels = Labels(self.ranks)
            for path in paths:
                for rank, name in zip_longest(self.ranks, pool.folders_of(path)[: len(self.ranks)]):
                    labels.add(rank, name)
            labels.check(str(place), lambda sample: str(self.root / paths[sample]))
        for classes in pool.classes.values():
            check_names(str(place), classes)

    def _refuse_unlearnable(self, train: Pool, other: Pool) -> None:
        trained = train.classes[self.ranks[-1]]
        missing = [name for name in other.classes[self.ranks[-1]] if name not in trained]
        if not missing:
            return
        twins = [(name, twin) for name in missing if (twin := twin_of(name, trained))]
        advice = "add training images or remove the folders"
        if twins:
            name, twin = twins[0]
            advice = (
                f"{name!a} and {twin!a} differ only in case, spaces or Unicode form: rename one"
            )
        folders = (other.folders_of(path)[: len(self.ranks)] for path in other.paths())
        example = "/".join(next(names for names in folders if names[-1] == missing[0]))
        raise TailproofError(
            f"{self.root / other.folder / example}: this class has no folder in "
            f"{self.root / train.folder}, so no expert can learn it "
            f"({quantity(len(missing), 'such class', 'such classes')}: {quoted(missing)}): {advice}"
        )

    @cached_property
    def _unnamed(self) -> dict[str, tuple[str, ...]]:
        """The pictures in folders next to those that data.source names, by folder."""
        named = [PurePosixPath("/", pool.folder) for pool in self._pools if pool.folder]
        if not named:
            return {}
        base = PurePosixPath(os.path.commonpath([folder.parent for folder in named]))
        used = {folder.relative_to(base).parts[0] for folder in named}
        tree = Folder(self.root)
        below = str(base)[1:]
        folders, files = tree.entries(below)
        pictures = {below or "the root": [str(base / name)[1:] for name in files]}
        for name in folders.keys() - used:
            folder = str(base / name)[1:]
            with suppress(PermissionError):  # a folder of another user is no data
                pictures[folder] = list(tree.files(folder))
        named_pictures = {
            folder: tuple(sorted(filter(is_picture, paths))) for folder, paths in pictures.items()
        }
        return {folder: paths for folder, paths in sorted(named_pictures.items()) if paths}

    def _warn_of_pools(self) -> Iterator[str]:
        train, *others = self._pools
        for folder, paths in self._unnamed.items():
            names = {path.removeprefix(f"{folder}/").split("/")[0] for path in paths}
            shared = sorted(names & train.folders.keys())
            kind = split_kind(folder.rpartition("/")[2])
            if shared or kind:
                of_classes = f" of the classes {quoted(shared)}" if shared else ""
                is_free = shared and kind and getattr(self.config, kind) is None
                advice = f"; to use it, name it as data.source.{kind}" if is_free else ""
                yield (
                    f"{self.root / folder} is left out with "
                    f"{quantity(len(paths), 'picture')}{of_classes}: data.source names only "
                    f"{quoted(pool.folder for pool in self._pools)}{advice}"
                )
        for test in others:
            tested = test.classes[self.ranks[-1]]
            untested = [name for name in train.classes[self.ranks[-1]] if name not in tested]
            if untested and test.name == HELD_OUT:
                yield (
                    f"{quantity(len(untested), 'class', 'classes')} of {self.root / train.folder} "
                    f"without a folder in {self.root / test.folder} cannot be tested: "
                    f"{quoted(untested)}"
                )


def _plain(folder: str | None) -> str:
    """Return a folder of the configuration without needless signs; empty for the root."""
    path = PurePosixPath(folder or "").as_posix()
    return "" if path == "." else path


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
