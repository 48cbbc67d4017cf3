"""A folder of image files with one sub-folder per class."""

import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tailproof.config.data import BelowRoot, SourceConfig
from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.base import HELD_OUT, TRAIN, Sample, Source, register_source
from tailproof.data.sources.filesystem import are_splits, hidden, read_file, walk
from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)


class ImageFolder(SourceConfig):
    """One folder per class, in root or in separate train and test folders."""

    name: Literal["image_folder"]
    root: str = Field(description="Folder that contains the class folders.")
    train: BelowRoot | None = Field(
        None, description="Sub-folder with the class folders of the training pool."
    )
    test: BelowRoot | None = Field(
        None, description="Sub-folder with the class folders of the held-out pool."
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> "ImageFolder":
        if self.test is not None and self.train is None:
            raise ValueError("'test' is given but 'train' is not: give both or neither")
        return self


@register_source(ImageFolder)
class ImageFolderSource(Source):
    """Image files below root/CLASS, or below root/TRAIN/CLASS and root/TEST/CLASS.

    Classes are the sorted folder names. Images may be in sub-folders of a class folder. Links are
    followed; hidden files and files with other suffixes are skipped. The id and the path of a
    sample are its path below root.
    """

    def __init__(self, config: ImageFolder) -> None:
        self.config = config
        self.root = Path(config.root)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The sorted folder names."""
        return {"class": sorted({sample.labels["class"] for sample in self._samples})}

    def files(self) -> list[Path]:
        """Return every image file. The folders are walked once."""
        return [self.root / sample.path for sample in self._samples]

    def __len__(self) -> int:
        return len(self._samples)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in the order of pool, class and path."""
        yield from self._samples

    def read(self, path: str, row: int | None) -> bytes:
        """Return the bytes of the file."""
        return read_file(self.root / path)

    @cached_property
    def _samples(self) -> list[Sample]:
        if self.config.train is None:
            samples = self._pool(self.root, None)
            self._refuse_split_folders({sample.labels["class"] for sample in samples})
            return samples
        train_folder = self.root / self.config.train
        if self.config.test is None:
            return self._pool(train_folder, None)
        train = self._pool(train_folder, TRAIN)
        test_folder = self.root / self.config.test
        test = self._pool(test_folder, HELD_OUT)
        learnt = {sample.labels["class"] for sample in train}
        for sample in test:
            if (name := sample.labels["class"]) not in learnt:
                raise TailproofError(
                    f"{test_folder / name}: this class has no folder in {train_folder}, so no "
                    "expert can learn it: add training images or remove the folder"
                )
        return train + test

    def _refuse_split_folders(self, names: set[str]) -> None:
        if are_splits({name.lower() for name in names}):
            raise TailproofError(
                f"{self.root} contains folders of a training set and of another set, which are not "
                "classes: set data.source.train and data.source.test"
            )

    def _pool(self, folder: Path, pool: str | None) -> list[Sample]:
        if not folder.is_dir():
            raise TailproofError(
                f"{folder} is not a folder: expected a folder with one sub-folder per class"
            )
        try:
            class_folders = sorted(
                entry for entry in folder.iterdir() if entry.is_dir() and not hidden(entry.name)
            )
            if not class_folders:
                raise TailproofError(
                    f"{folder} contains no folder: expected one sub-folder per class"
                )
            return [
                Sample(path, {"class": class_folder.name}, path, pool=pool)
                for class_folder in class_folders
                for path in self._images(class_folder)
            ]
        except OSError as error:
            raise TailproofError(f"{error.filename} cannot be read: {error.strerror}") from None

    def _images(self, class_folder: Path) -> list[str]:
        """Return the sorted paths, below root, of the images of a class."""
        paths, skipped = [], 0
        for file in walk(class_folder):
            if file.suffix.lower() in SUFFIXES:
                paths.append(self._relative(file))
            else:
                skipped += 1
        if skipped:
            log.warning("%s: skipped %d file(s) with other suffixes", class_folder, skipped)
        if not paths:
            raise TailproofError(
                f"{class_folder} contains no image ({', '.join(sorted(SUFFIXES))}): add images or "
                "remove the folder"
            )
        return sorted(paths)

    def _relative(self, file: Path) -> str:
        path = file.relative_to(self.root).as_posix()
        try:
            path.encode()
        except UnicodeEncodeError:
            raise TailproofError(
                f"{path!a}: the file name is not valid UTF-8: rename the file"
            ) from None
        return path
