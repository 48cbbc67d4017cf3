"""Reads a collection with its source: samples, classes, groups and pools, and a few pictures."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import pandas as pd

from tailproof.config.data import SourceConfig
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.config.validation import parse_experiment
from tailproof.data.class_index import class_order
from tailproof.data.heic import without_heic
from tailproof.data.images import read_picture
from tailproof.data.sources import Sample, Source, open_source
from tailproof.data.sources.base import Skipped, where
from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.progress import track
from tailproof.text import quantity

OPENED = 40  # pictures that are read


@dataclass(frozen=True)
class Pictures:
    """A few pictures of a collection.

    Attributes:
        sizes: height and width of each.
        bands: the number of bands of arrays; 0 for pictures.
        colour: whether any has colour.
        unread: what is wrong with those that cannot be read, by location.
    """

    sizes: list[tuple[int, int]]
    bands: int
    colour: bool
    unread: dict[str, str]

    @property
    def side(self) -> int:
        """The median of the shorter sides."""
        return int(median(min(size) for size in self.sizes))

    @property
    def of_one_size(self) -> bool:
        """Whether all have the same size."""
        return len(set(self.sizes)) == 1


@dataclass(frozen=True)
class Collection:
    """The samples of a source.

    Attributes:
        table: sample_id, path, digest, group, pool and the labels at each rank; as no picture was
            read, digests are those of different pictures.
        ranks: the ranks, coarse to fine.
        pictures: a few of the pictures.
        skipped: what is no sample.
        warnings: what looks like a mistake.
    """

    table: pd.DataFrame
    ranks: tuple[str, ...]
    pictures: Pictures
    skipped: list[Skipped]
    warnings: list[str]

    @property
    def target(self) -> str:
        """The rank that is classified: the finest one."""
        return self.ranks[-1]

    @cached_property
    def counts(self) -> Counter[str]:
        """The number of samples of each class, in class order."""
        counts = self.table[self.target].value_counts()
        return Counter({name: int(counts[name]) for name in class_order(list(counts.index))})

    @cached_property
    def pools(self) -> dict[str, int]:
        """The number of samples of each official set; empty without them."""
        counts = self.table["pool"].value_counts()
        names = {TRAIN: "train", VAL: "val", HELD_OUT: "test"}
        return {name: int(counts[pool]) for pool, name in names.items() if pool in counts}

    @property
    def groups(self) -> int:
        """The number of groups of more than one sample."""
        sizes = self.table["group"].value_counts()
        return int((sizes > 1).sum())


def read_source(section: dict[str, Any]) -> SourceConfig:
    """Return the configuration in the section ``data.source`` of an experiment.

    Raises:
        TailproofError: it is not valid.
    """
    value = {"title": section["name"], "data": {"source": section}, "experts": {"plain": {}}}
    return parse_experiment(value, "the recognized source").data.source


def read_collection(config: SourceConfig) -> Collection:
    """Read what an experiment would read, without decoding more than a few pictures.

    Raises:
        TailproofError: the collection is invalid, or none of the pictures can be read.
    """
    source = open_source(config)
    ranks = tuple(source.ranks)
    samples: list[Sample] = list(track(source.samples(), "import", len(source)))
    if not samples:
        raise TailproofError(
            f"{source.root}: found no sample, expected labelled pictures: name another folder, or "
            "another source with --as"
        )
    ids = [sample.sample_id for sample in samples]
    columns = {
        "sample_id": ids,
        "path": [sample.path for sample in samples],
        "digest": ids,
        "group": [sample.group or sample.sample_id for sample in samples],
        "pool": [sample.pool for sample in samples],
        **{rank: [sample.labels[rank] for sample in samples] for rank in ranks},
    }
    pictures = _read_pictures(source, samples[:: max(1, len(samples) // OPENED)][:OPENED])
    table = pd.DataFrame(columns)
    return Collection(table, ranks, pictures, source.skipped(), source.warnings())


def _read_pictures(source: Source, samples: list[Sample]) -> Pictures:
    sizes, unread, bands, colour = [], {}, Counter[int](), False
    for sample in samples:
        try:
            pixels = read_picture(without_heic(source.read(sample.path, sample.row))).pixels
        except Interrupted:
            raise
        except TailproofError as error:
            unread[where(sample.path, sample.row)] = str(error)
            continue
        sizes.append(pixels.shape[:2])
        is_array = pixels.dtype.kind == "f"
        bands[pixels.shape[2] if is_array else 0] += 1
        colour |= pixels.ndim == 3 and not is_array
    if not sizes:
        place, reason = next(iter(unread.items()))
        raise TailproofError(
            f"{source.root}: of {quantity(len(samples), 'picture')} looked at, none can be read, "
            f"such as {place}: {reason}"
        )
    return Pictures(sizes, bands.most_common(1)[0][0], colour, unread)
