"""What every source of images offers."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tailproof.runtime.errors import TailproofError

TRAIN, HELD_OUT = "train", "held_out"


@dataclass(frozen=True)
class Sample:
    """One image with its labels, and where its bytes are.

    Attributes:
        sample_id: unique in its source, and the same each time.
        labels: class name by taxonomic rank; None where the sample has no label at a rank.
        path: the raw file, relative to the source's root.
        row: position inside that file; None where the file is the image.
        pool: ``train`` or ``held_out``; None where the source has no test set.
        group: what must not be torn apart between splits; None where every sample stands alone.
    """

    sample_id: str
    labels: dict[str, str | None]
    path: str
    row: int | None = None
    pool: str | None = None
    group: str | None = None


class Source(ABC):
    """A labelled image collection.

    Attributes:
        root: the folder that paths are relative to; None where the images come with a library.
        ranks: the taxonomic ranks, coarse to fine.
    """

    root: Path | None = None
    ranks: tuple[str, ...] = ("class",)

    @property
    @abstractmethod
    def classes(self) -> dict[str, list[str]]:
        """Class names in class order, by rank."""

    @abstractmethod
    def files(self) -> list[Path]:
        """Return the raw files that are read, whether or not they are there; cheap."""

    def fetch(self) -> None:  # noqa: B027 - most sources have no publisher to ask
        """Download what is missing, where the configuration asks for it."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Yield every sample, in an order that is always the same."""

    @abstractmethod
    def read(self, path: str, row: int | None) -> bytes:
        """Return the encoded image of the sample at (`path`, `row`), without loss."""

    def read_many(self, wanted: Sequence[tuple[str, int | None]]) -> Iterator[bytes]:
        """Yield the encoded images of all (path, row) in `wanted`, in that order, however wild."""
        for path, row in wanted:
            yield self.read(path, row)


@dataclass(frozen=True)
class Block:
    """The images of one raw file.

    Attributes:
        images: uint8, [N, H, W] or [N, H, W, 3].
        labels: class index by rank, integers [N].
        pool: the pool that all of them belong to.
    """

    images: np.ndarray
    labels: dict[str, np.ndarray]
    pool: str | None = None


class ArraySource(Source):
    """A source whose raw files hold many images each; they stay in memory once read."""

    @abstractmethod
    def load(self) -> dict[str, Block]:
        """Read and check all raw files: blocks by path, in order."""

    @cached_property
    def blocks(self) -> dict[str, Block]:
        """What `load` returned."""
        return self.load()

    def __len__(self) -> int:
        return sum(len(block.images) for block in self.blocks.values())

    def samples(self) -> Iterator[Sample]:
        """Yield ``train-00000``, ``train-00001``, … and ``test-…``; ``sample-…`` without pools."""
        counts: dict[str, int] = {}
        for path, block in self.blocks.items():
            prefix = {TRAIN: "train", HELD_OUT: "test", None: "sample"}[block.pool]
            first = counts.get(prefix, 0)
            counts[prefix] = first + len(block.images)
            for row in range(len(block.images)):
                labels = {rank: self.classes[rank][block.labels[rank][row]] for rank in self.ranks}
                yield Sample(f"{prefix}-{first + row:05d}", labels, path, row, block.pool)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the image as PNG."""
        from tailproof.data.images import encode_png

        try:
            image = self.blocks[path].images[row]
        except LookupError:
            raise TailproofError(
                f"{path}, row {row}: no longer in the source; run the stage prepare again"
            ) from None
        return encode_png(image)


def where(path: str | Path, row: int | None) -> str:
    """Return where a sample is, as messages name it."""
    return str(path) if row is None else f"{path}, row {row}"


def check_labels(labels: np.ndarray, classes: int, file: str | Path) -> None:
    """Raise a TailproofError naming the first row whose label is not a class index."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        row = int(wrong[0])
        raise TailproofError(
            f"{file}, row {row}: label {labels[row]}, expected 0 to {classes - 1}; the file is not "
            "of this dataset, or damaged"
        )


def check_digest(file: str | Path, content: BinaryIO, pin: str) -> None:
    """Check content against a pinned sum, written ``algorithm:hex``.

    Raises:
        TailproofError: it differs.
    """
    algorithm, expected = pin.split(":")
    found = hashlib.file_digest(
        content, lambda: hashlib.new(algorithm, usedforsecurity=False)
    ).hexdigest()
    if found != expected:
        raise TailproofError(
            f"{file}: {algorithm} {found}, expected {expected}; it is not the published file or it "
            "is damaged: delete it and fetch it again"
        )
