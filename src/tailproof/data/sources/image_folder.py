"""A folder of image files with one sub-folder per class."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, model_validator

from tailproof.config.data import BelowRoot, PictureSourceConfig, check_pools
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.sources.base import Sample, Skipped, Source, register_source
from tailproof.data.sources.folders.class_folders import is_picture, list_classes, warn_of_files
from tailproof.data.sources.folders.class_names import check_names, twin_of, warn_of_similar_names
from tailproof.data.sources.folders.filesystem import Folder, no_folder, read_file
from tailproof.data.sources.folders.folder_layout import Place, check_layout, quoted
from tailproof.data.sources.folders.split_names import split_kind
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
        classes: by class the sorted paths of its pictures, relative to root.
    """

    folder: str
    name: str | None
    classes: dict[str, list[str]]


@register_source(ImageFolder)
class ImageFolderSource(Source):
    """Image files below root/CLASS, or below root/TRAIN/CLASS and root/TEST/CLASS.

    Classes are the sorted folder names. Images may be in sub-folders of a class folder. Links are
    followed. The id and the path of a sample are its path below root.
    """

    def __init__(self, config: ImageFolder) -> None:
        self.config = config
        self.root = Path(config.root)
        self._tree = Folder(self.root)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The sorted folder names."""
        return {"class": sorted(self._counts)}

    def files(self) -> list[Path]:
        """Return every image file. The folders are walked once."""
        return [self.root / path for path in self._paths()]

    def __len__(self) -> int:
        return self._counts.total()

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in the order of pool, class and path."""
        for pool in self._pools:
            for name, paths in pool.classes.items():
                for path in paths:
                    yield Sample(path, {"class": name}, path, pool=pool.name)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the bytes of the file."""
        return read_file(self.root / path)

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
        sentences = [*self._warn_of_pools(), *warn_of_similar_names(self._counts)]
        for pool in self._pools:
            sentences += warn_of_files(pool.classes, pool.folder)
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
        fields = {FIELDS[pool.name]: pool.folder for pool in pools}
        for pool in pools:
            self._check(pool, Place(str(self.root), fields, FIELDS[pool.name]))
        for pool in pools[1:]:
            self._refuse_unlearnable(pools[0], pool)
        return pools

    @cached_property
    def _counts(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for pool in self._pools:
            counts.update({name: len(paths) for name, paths in pool.classes.items()})
        return counts

    def _paths(self) -> Iterator[str]:
        for pool in self._pools:
            for paths in pool.classes.values():
                yield from paths

    def _pool(self, folder: str, name: str | None) -> Pool:
        if not (self.root / folder).is_dir():
            field = FIELDS.get(name, "train") if self.root.is_dir() else "root"
            raise no_folder(self.root / folder, f"data.source.{field}")
        try:
            return Pool(folder, name, list_classes(self._tree, folder))
        except OSError as error:
            raise TailproofError(
                f"{error.filename} cannot be read ({error.strerror}): check its permissions"
            ) from None

    def _check(self, pool: Pool, place: Place) -> None:
        """Check the names and the levels of the folders of a pool."""
        paths = [path for paths in pool.classes.values() for path in paths]
        wrong = [path for path in paths if not path.isascii() and not _is_text(path)]
        if wrong:
            raise TailproofError(
                f"{self.root}: {quantity(len(wrong), 'file name')} not in valid UTF-8, such as "
                f"{wrong[0]!a}: rename them (convmv converts names from other encodings)"
            )
        prefix = len(pool.folder) + 1 if pool.folder else 0
        check_layout(place, (path[prefix:] for path in paths))
        check_names(str(place), {name: len(paths) for name, paths in pool.classes.items()})

    def _refuse_unlearnable(self, train: Pool, other: Pool) -> None:
        missing = [name for name in other.classes if name not in train.classes]
        if not missing:
            return
        twins = [(name, twin) for name in missing if (twin := twin_of(name, train.classes))]
        advice = "add training images or remove the folders"
        if twins:
            name, twin = twins[0]
            advice = (
                f"{name!a} and {twin!a} differ only in case, spaces or Unicode form: rename one"
            )
        raise TailproofError(
            f"{self.root / other.folder / missing[0]}: this class has no folder in "
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
            shared = sorted(names & train.classes.keys())
            kind = split_kind(folder.rpartition("/")[2])
            if shared or kind:
                of_classes = f" of the classes {quoted(shared)}" if shared else ""
                is_free = shared and kind and getattr(self.config, kind) is None
                advice = f"; to use it, name it as data.source.{kind}" if is_free else ""
                yield (
                    f"{self.root / folder} contains {quantity(len(paths), 'picture')}{of_classes}, "
                    "which are left out: data.source names only "
                    f"{quoted(pool.folder for pool in self._pools)}{advice}"
                )
        for test in others:
            untested = [name for name in train.classes if name not in test.classes]
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
