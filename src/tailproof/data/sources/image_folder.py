"""A folder of image files, one sub-folder a class."""

import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tailproof.config.data import ImageFolder
from tailproof.data.sources.base import HELD_OUT, TRAIN, Sample, Source
from tailproof.data.sources.filesystem import are_splits, hidden, read_file, walk
from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


class ImageFolderSource(Source):
    """Image files below root/CLASS, or below root/TRAIN/CLASS and root/TEST/CLASS.

    Classes are the sorted folder names; images may lie deeper. Hidden files and other suffixes
    are passed over; links are followed. A sample's id and path is its path below root.
    """

    def __init__(self, config: ImageFolder) -> None:
        self.config = config
        self.root = Path(config.root)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Folder names, sorted."""
        return {"class": sorted({sample.labels["class"] for sample in self._samples})}

    def files(self) -> list[Path]:
        """Return every image file; walks the folders once."""
        return [self.root / sample.path for sample in self._samples]

    def __len__(self) -> int:
        return len(self._samples)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples pool by pool, class by class, by path."""
        yield from self._samples

    def read(self, path: str, row: int | None) -> bytes:
        """Return the file's own bytes."""
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
        known = {sample.labels["class"] for sample in train}
        for sample in test:
            if (name := sample.labels["class"]) not in known:
                raise TailproofError(
                    f"{test_folder / name}: this class has no folder in {train_folder}; nothing "
                    "could learn it: add training images or remove it"
                )
        return train + test

    def _refuse_split_folders(self, names: set[str]) -> None:
        if are_splits({name.lower() for name in names}):
            raise TailproofError(
                f"{self.root} holds folders of a training and of another set, which are no "
                "classes: set data.source.train and data.source.test"
            )

    def _pool(self, folder: Path, pool: str | None) -> list[Sample]:
        if not folder.is_dir():
            raise TailproofError(f"{folder} is not a folder: expected one sub-folder a class in it")
        try:
            class_folders = sorted(
                entry for entry in folder.iterdir() if entry.is_dir() and not hidden(entry.name)
            )
            if not class_folders:
                raise TailproofError(
                    f"{folder} holds no folder: expected one sub-folder a class in it"
                )
            return [
                Sample(path, {"class": class_folder.name}, path, pool=pool)
                for class_folder in class_folders
                for path in self._images(class_folder)
            ]
        except OSError as error:
            raise TailproofError(f"{error.filename} cannot be read: {error.strerror}") from None

    def _images(self, class_folder: Path) -> list[str]:
        """Return the paths below root of a class's images, sorted."""
        found, other = [], 0
        for file in walk(class_folder):
            if file.suffix.lower() in SUFFIXES:
                found.append(self._relative(file))
            else:
                other += 1
        if other:
            log.warning("%s: %d file(s) with other suffixes passed over", class_folder, other)
        if not found:
            raise TailproofError(
                f"{class_folder}: a class with no image ({', '.join(sorted(SUFFIXES))}); add some "
                "or remove the folder"
            )
        return sorted(found)

    def _relative(self, file: Path) -> str:
        path = file.relative_to(self.root).as_posix()
        try:
            path.encode()
        except UnicodeEncodeError:
            raise TailproofError(
                f"{path!a}: this file's name is not valid UTF-8; rename it"
            ) from None
        return path
