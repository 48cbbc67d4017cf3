"""The interface of a source of labelled images, and the registry of sources."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tailproof.config.data import SourceConfig, add_source_config
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.runtime.errors import TailproofError


class Box(NamedTuple):
    """A part of a picture, which lies upright as viewers show it.

    Attributes:
        x: distance of the left side from that of the picture.
        y: distance of the upper side from that of the picture.
        width: the width.
        height: the height.
        picture: width and height of the picture in the same unit, such as (1, 1) if the numbers
            are fractions; None if they are pixels.
    """

    x: float
    y: float
    width: float
    height: float
    picture: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sample:
    """One image with its labels, and the location of its bytes.

    Attributes:
        sample_id: an id that is unique in the source and never changes.
        labels: class name by taxonomic rank; None if the sample has no label at a rank.
        path: the raw file, relative to the root of the source.
        row: position in that file, or number of the box; None if the file is the image.
        pool: ``train``, ``val`` or ``held_out``; None if the source has no test set. ``unknown``
            for a sample of no known class.
        group: samples of one group stay in one split; None if the sample is its own group.
        box: the part of the picture that is the image; None if all of it is.
        context: the text in each of the columns `Source.context`; None without a value.
        unknown_class: what the source calls a sample of no known class.
    """

    sample_id: str
    labels: dict[str, str | None]
    path: str
    row: int | None = None
    pool: str | None = None
    group: str | None = None
    box: Box | None = None
    context: tuple[str | None, ...] = ()
    unknown_class: str | None = None


@dataclass(frozen=True)
class Skipped:
    """Files or rows of a source that are no samples, for one reason.

    Attributes:
        reason: why, as a noun phrase in the plural, such as ``thumbnails of a NAS``.
        count: how many.
        examples: the first few, as paths or rows.
    """

    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recognition:
    """What a source takes a path for, as `tailproof import` needs it.

    Attributes:
        source: the section ``data.source`` of an experiment that reads the path, as plain values.
        reason: the evidence, as a clause: ``a.json has images, annotations and categories``.
        sure: False if another source may read the path as well.
        notes: further sentences: what each column is taken for and why, what is passed over.
        doubts: sentences about decisions that may be wrong, which the user should check.
        group_notes: notes on the groups, which hold only while the source reads them.
    """

    source: dict[str, Any]
    reason: str
    sure: bool = True
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    group_notes: tuple[str, ...] = ()


class Source(ABC):
    """A labelled image collection.

    Attributes:
        root: the folder that paths are relative to; None if the images are part of a package.
        ranks: the taxonomic ranks, coarse to fine.
        has_columns: whether it has a table with columns, of which samples can carry some.
        context: the columns that samples carry.
    """

    root: Path | None = None
    ranks: tuple[str, ...] = ("class",)
    has_columns: bool = False
    context: tuple[str, ...] = ()

    def __init__(self, config: Any) -> None:  # noqa: B027 - some sources need nothing of it
        """Open the source of a configuration."""

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return how this source reads a user's file or folder; None if it is of another kind.

        This reads names and the head of a few files, never a whole collection.

        Raises:
            TailproofError: it is of this kind, and cannot be used as it is; it says what to do.
        """
        return None

    @property
    @abstractmethod
    def classes(self) -> dict[str, list[str]]:
        """Class names in class order, by rank."""

    @abstractmethod
    def files(self) -> list[Path]:
        """Return the raw files to read, whether or not they exist. This is fast."""

    def fetch(self) -> None:  # noqa: B027 - most sources have no publisher
        """Download missing files, if the configuration asks for it."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Yield every sample, always in the same order."""

    def skipped(self) -> list[Skipped]:
        """Return what `samples` leaves out, by reason."""
        return []

    def warnings(self) -> list[str]:
        """Return sentences about labels, groups or pools that look like mistakes."""
        return []

    @abstractmethod
    def read(self, path: str, row: int | None) -> bytes:
        """Return the image of the sample at (`path`, `row`), encoded without loss."""

    def read_many(self, wanted: Sequence[tuple[str, int | None]]) -> Iterator[bytes]:
        """Yield the encoded images of all (path, row) in `wanted`, in this order."""
        for path, row in wanted:
            yield self.read(path, row)


SOURCES: dict[str, type[Source]] = {}
"""The reader of each source, by the name in the configuration."""


def register_source(model: type[SourceConfig]) -> Callable[[type[Source]], type[Source]]:
    """Register a reader, and the model of its configuration, which the reader is built from."""

    def add(reader: type[Source]) -> type[Source]:
        SOURCES.update(dict.fromkeys(add_source_config(model), reader))
        return reader

    return add


@dataclass(frozen=True)
class Block:
    """The images of one raw file.

    Attributes:
        images: uint8, [N, H, W] or [N, H, W, 3].
        labels: for each rank the class indices, integers [N].
        pool: the pool of all the images.
    """

    images: np.ndarray
    labels: dict[str, np.ndarray]
    pool: str | None = None


class ArraySource(Source):
    """A source whose raw files contain many images each, which are kept in memory."""

    @abstractmethod
    def load(self) -> dict[str, Block]:
        """Read and check all raw files, and return their blocks by path, in order."""

    @cached_property
    def blocks(self) -> dict[str, Block]:
        """The blocks that `load` returned."""
        return self.load()

    def __len__(self) -> int:
        return sum(len(block.images) for block in self.blocks.values())

    def samples(self) -> Iterator[Sample]:
        """Yield samples with ids ``train-00000``, … and ``test-…``; ``sample-…`` without pools."""
        counts: dict[str, int] = {}
        for path, block in self.blocks.items():
            prefix = {TRAIN: "train", VAL: "val", HELD_OUT: "test", None: "sample"}[block.pool]
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
                f"{path}, row {row}, is no longer in the source: run snakemake again with "
                "--forcerun prepare"
            ) from None
        return encode_png(image)


def where(path: str | Path, row: int | None) -> str:
    """Return the location of a sample as text for messages."""
    return str(path) if row is None else f"{path}, row {row}"


def check_labels(labels: np.ndarray, classes: int, file: str | Path) -> None:
    """Raise a TailproofError that names the first row whose label is not a class index."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        row = int(wrong[0])
        raise TailproofError(
            f"{file}, row {row} has the label {labels[row]}, expected 0 to {classes - 1}: the "
            "file is damaged or belongs to another dataset; replace it"
        )


def check_digest(file: str | Path, content: BufferedReader | BytesIO, pin: str) -> None:
    """Check content against a pinned checksum, ``algorithm:hex``.

    Raises:
        TailproofError: the checksum differs.
    """
    algorithm, expected = pin.split(":")
    actual = hashlib.file_digest(
        content, lambda: hashlib.new(algorithm, usedforsecurity=False)
    ).hexdigest()
    if actual != expected:
        raise TailproofError(
            f"{file} has the {algorithm} checksum {actual}, expected {expected}: delete the file "
            "and fetch it again"
        )
