"""A source whose samples are parts of the pictures of another source."""

from array import array
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tailproof.config.data import Crops
from tailproof.data.sources.base import Box, Sample, Skipped, Source
from tailproof.data.sources.crops.cut import FRACTIONS, cut
from tailproof.data.sources.crops.megadetector import DetectedBoxes
from tailproof.data.sources.folders.filesystem import EXAMPLES
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity

MANY = 0.25
"""Share of the boxes outside of their pictures from which on their numbers mean something else."""


class CroppedSource(Source):
    """The boxes of a source, each a sample: those that it lists, or those that MegaDetector found.

    The id of a sample is the path of its picture and the number of its box in it. Its row is that
    number. The group of a sample is that of its picture, or else its picture. If the boxes of one
    picture have several groups, these groups are one.
    """

    def __init__(self, source: Source, crops: Crops) -> None:
        self.source = source
        self.root = source.root
        self._margin = crops.margin
        self._detected = (
            DetectedBoxes(source, crops, crops.detections) if crops.detections else None
        )
        self._picture: tuple[str, np.ndarray] | None = None
        self._notes: dict[str, list[str]] = {}
        self._outside: list[str] = []
        self._cuts = 0

    @property
    def ranks(self) -> tuple[str, ...]:  # type: ignore[override]  # read late; nothing sets it
        """The taxonomic ranks of the source."""
        return self.source.ranks

    @property
    def classes(self) -> dict[str, list[str]]:
        """The classes that have a box."""
        labels = self._boxes.labels
        return {
            rank: [name for name in names if name in labels[rank]]
            for rank, names in self.source.classes.items()
        }

    def files(self) -> list[Path]:
        """Return the files of the source, and the output of MegaDetector."""
        return self.source.files() + ([self._detected.file] if self._detected else [])

    def fetch(self) -> None:
        """Download what the source needs."""
        self.source.fetch()

    def __len__(self) -> int:
        return len(self._boxes)

    def samples(self) -> Iterator[Sample]:
        """Yield the boxes in the order of the source."""
        boxes = self._boxes
        for sample in self._boxed_samples():
            yield replace(sample, group=boxes.group_of(sample.path))

    def skipped(self) -> list[Skipped]:
        """Return what the source leaves out, and what has no box that counts."""
        return self.source.skipped() + (self._detected.skipped() if self._detected else [])

    def warnings(self) -> list[str]:
        """Return sentences about the source and its boxes; the last ones once they were read."""
        sentences = self.source.warnings() + self._boxes.warnings()
        if self._detected:
            sentences += self._detected.warnings()
        for rank, names in self.source.classes.items():
            lost = [f"'{name}'" for name in names if name not in self._boxes.labels[rank]]
            if lost:
                sentences.append(
                    f"{quantity(len(lost), 'class', 'classes')} of the rank '{rank}' "
                    f"{'has' if len(lost) == 1 else 'have'} no box, and therefore no sample: "
                    f"{listed(lost)}"
                )
        for note, paths in self._notes.items():
            sentences.append(
                f"in {quantity(len(paths), 'picture')}, {note}: {listed(paths, EXAMPLES)}"
            )
        return sentences + self._warn_of_outside()

    def read(self, path: str, row: int | None) -> bytes:
        """Return the pixels in a box, as PNG or as an array of bands.

        Raises:
            TailproofError: the picture cannot be read, or the box is empty or outside of it.
        """
        from tailproof.data.images import encode_png
        from tailproof.data.multiband import encode_bands

        box = self._boxes.find(path, row)
        part, outside = cut(self._pixels(path), box, self._margin)
        self._cuts += 1
        if outside:
            self._outside.append(f"{path}:{row}")
        return encode_bands(part) if part.dtype == np.float32 else encode_png(part)

    def _pixels(self, path: str) -> np.ndarray:
        """Decode a picture; the last one is kept, because its next box often follows."""
        from tailproof.data.heic import without_heic
        from tailproof.data.images import read_picture

        if self._picture is None or self._picture[0] != path:
            picture = read_picture(without_heic(self.source.read(path, None)))
            for note in picture.notes:
                self._notes.setdefault(note, []).append(path)
            self._picture = path, picture.pixels
        return self._picture[1]

    def _boxed_samples(self) -> Iterator[Sample]:
        return (self._detected or self.source).samples()

    @cached_property
    def _boxes(self) -> "_Boxes":
        boxes = _Boxes(self.source.ranks)
        for sample in self._boxed_samples():
            boxes.add(sample)
        if not len(boxes):
            skipped = [f"{each.reason} ({each.count:,})" for each in self.skipped()]
            raise TailproofError(
                f"{self.root}: no box is left to cut out: {listed(skipped, 8) or 'none is listed'};"
                " correct data.source.crops"
            )
        boxes.close()
        return boxes

    def _warn_of_outside(self) -> list[str]:
        if not self._outside:
            return []
        share = len(self._outside) / self._cuts
        doubt = (
            "; check that the boxes belong to these pictures, and that their numbers are x, y, "
            "width and height"
            if share > MANY
            else ""
        )
        what = "reaches beyond its picture and was"
        if len(self._outside) > 1:
            what = "reach beyond their pictures and were"
        return [
            f"{len(self._outside):,} of {quantity(self._cuts, 'box', 'boxes')} {what} clipped at "
            f"the border: {listed(self._outside, EXAMPLES)}{doubt}"
        ]


class _Boxes:
    """The boxes, and what is known of their pictures.

    Attributes:
        labels: the classes of each rank that have a box.
    """

    def __init__(self, ranks: tuple[str, ...]) -> None:
        self.labels: dict[str, set[str | None]] = {rank: set() for rank in ranks}
        self._index: dict[tuple[str, int | None], int] = {}
        self._numbers = array("d")
        self._sizes: dict[tuple[float, float] | None, int] = {}  # those that occur
        self._pictures = array("i")  # for each box the number of the size of its picture
        self._groups: dict[str, str] = {}  # of each picture
        self._same: dict[str, str] = {}  # a group that is one with another
        self._size_of: list[tuple[float, float] | None] = []
        self._fractions = False

    def __len__(self) -> int:
        return len(self._index)

    def add(self, sample: Sample) -> None:
        """Add the box of a sample."""
        assert sample.box is not None  # the samples are boxes
        self._index[sample.path, sample.row] = len(self._pictures)
        self._numbers.extend(sample.box[:4])
        self._pictures.append(self._sizes.setdefault(sample.box.picture, len(self._sizes)))
        for rank, label in sample.labels.items():
            self.labels[rank].add(label)
        group = sample.group or sample.path
        known = self._groups.setdefault(sample.path, group)
        if known != group:
            first, second = self._root(known), self._root(group)
            if first != second:
                self._same[second] = first

    def close(self) -> None:
        """Decide whether numbers that may be pixels are fractions: all are at most 1."""
        self._size_of = list(self._sizes)
        if self._size_of != [FRACTIONS]:
            numbers = np.frombuffer(self._numbers)
            self._fractions = bool((np.abs(numbers[np.isfinite(numbers)]) <= 1).all())

    def find(self, path: str, number: int | None) -> Box:
        """Return a box by its picture and its number.

        Raises:
            TailproofError: there is none.
        """
        index = self._index.get((path, number))
        if index is None:
            raise TailproofError(
                f"{path} has no box {number} any more: run snakemake again with --forcerun prepare"
            )
        numbers = self._numbers[4 * index : 4 * index + 4]
        size = FRACTIONS if self._fractions else self._size_of[self._pictures[index]]
        x, y, width, height = numbers
        return Box(x, y, width, height, size)

    def group_of(self, path: str) -> str:
        """Return the group of a picture."""
        return self._root(self._groups[path])

    def warnings(self) -> list[str]:
        """Return a sentence if fractions are where pixels are usual, or groups were joined."""
        sentences = []
        if self._fractions:
            sentences.append(
                "no number of any box is above 1, so boxes are read as fractions of the picture"
            )
        if self._same:
            sentences.append(
                f"{quantity(len(self._same), 'group is', 'groups are')} joined with another, "
                f"because boxes of one picture are in both: {listed(list(self._same))}"
            )
        return sentences

    def _root(self, group: str) -> str:
        while group in self._same:
            group = self._same[group]
        return group
