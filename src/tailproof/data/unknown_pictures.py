"""The pictures of an experiment: those of known classes, and those of `data.unknown`.

A picture of no known class is a sample of the pool `UNKNOWN`, without a label at any rank. What its
source calls it is its `unknown_class`. It has a place in samples.parquet, and in shards of its own.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from tailproof.config.data import Data
from tailproof.config.splits import HELD_OUT, UNKNOWN
from tailproof.data.sources import Sample, Source, open_source
from tailproof.data.sources.base import Skipped
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.text import listed, quantity

MARK = "unknown:"
"""What the ids and groups of unknown samples of another source start with."""
OFFICIAL = "pictures of unknown classes in the official training and validation sets"
FEWEST = 2


def open_pictures(config: Data) -> Source:
    """Return the source of all pictures, known and unknown; nothing is read yet."""
    source = open_source(config.source)
    if config.unknown is None or not config.unknown.has_pictures:
        return source
    if config.unknown.source is not None:
        return SourceAndUnknown(source, open_source(config.unknown.source))
    return HeldOutClasses(source, config.unknown.classes, config.target)


class _Wrapper(Source):
    """A source around another one, whose facts are those of the other one."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root = source.root

    @property
    def ranks(self) -> tuple[str, ...]:  # type: ignore[override]  # read late; nothing sets it
        """The taxonomic ranks of the source."""
        return self.source.ranks

    def files(self) -> list[Path]:
        """Return the files of the source."""
        return self.source.files()

    def fetch(self) -> None:
        """Download what the source needs."""
        self.source.fetch()

    def skipped(self) -> list[Skipped]:
        """Return what the source leaves out."""
        return self.source.skipped()

    def warnings(self) -> list[str]:
        """Return the warnings of the source."""
        return self.source.warnings()

    def read(self, path: str, row: int | None) -> bytes:
        """Return an image of the source."""
        return self.source.read(path, row)

    def read_many(self, wanted: Sequence[tuple[str, int | None]]) -> Iterator[bytes]:
        """Yield images of the source."""
        return self.source.read_many(wanted)


def _unlabelled(sample: Sample, ranks: Sequence[str], name: str | None) -> Sample:
    labels = dict.fromkeys(ranks)
    return replace(sample, labels=labels, pool=UNKNOWN, unknown_class=name)


@dataclass(frozen=True)
class _Listing:
    """What one pass over a source shows.

    Attributes:
        known: number of samples of known classes.
        lost: {rank: names that only held-out samples have}.
        held_out: {name of an unknown class: {pool: number of samples}}.
        examples: the first samples that are left out.
    """

    known: int
    lost: dict[str, set[str | None]]
    held_out: dict[str, Counter[str | None]]
    examples: tuple[str, ...]


class HeldOutClasses(_Wrapper):
    """A source some classes of which are unknown.

    With official sets, unknown samples are those of the official test set, as known ones are that
    they are compared with. Those of the other sets are left out and counted.

    Args:
        source: the source.
        names: classes of the target.
        target: the rank to predict; None for the finest.
    """

    def __init__(self, source: Source, names: list[str], target: str | None) -> None:
        super().__init__(source)
        self._names, self._rank = names, target

    @property
    def classes(self) -> dict[str, list[str]]:
        """The classes of the source that have a known sample, or have no sample at all."""
        lost = self._listing.lost
        return {
            rank: [name for name in names if name not in lost[rank]]
            for rank, names in self.source.classes.items()
        }

    def __len__(self) -> int:
        return self._listing.known + sum(map(self._used, self._listing.held_out.values()))

    def samples(self) -> Iterator[Sample]:
        """Yield all samples in the order of the source, those of unknown classes without labels."""
        official, target = self._official, self._target
        for sample in self.source.samples():
            name = sample.labels[target]
            if name not in self._listing.held_out:
                yield sample
            elif not official or sample.pool == HELD_OUT:
                yield _unlabelled(sample, self.ranks, name)

    def skipped(self) -> list[Skipped]:
        """Return what the source leaves out, and unknown samples outside the official test set."""
        held_out = self._listing.held_out.values()
        count = sum(pools.total() - self._used(pools) for pools in held_out)
        official = [Skipped(OFFICIAL, count, self._listing.examples)] if count else []
        return [*super().skipped(), *official]

    def warnings(self) -> list[str]:
        """Return the warnings of the source, and what the official test set has lost."""
        used = sum(map(self._used, self._listing.held_out.values()))
        sentence = (
            f"{quantity(used, 'picture')} of the official test set "
            f"{'is of an unknown class' if used == 1 else 'are of unknown classes'} "
            f"({listed(list(self._listing.held_out))}): results on test do not cover the whole "
            "official test set"
        )
        return [*super().warnings(), *([sentence] if self._official else [])]

    @property
    def _target(self) -> str:
        target = self._rank or self.ranks[-1]
        if target not in self.ranks:
            raise unknown_name("taxonomic rank", target, self.ranks)
        return target

    @property
    def _official(self) -> bool:
        """Whether the source has a test set of its own."""
        return any(HELD_OUT in pools for pools in self._listing.held_out.values())

    def _used(self, pools: Counter[str | None]) -> int:
        return pools[HELD_OUT] if self._official else pools.total()

    @cached_property
    def _listing(self) -> _Listing:
        target, names = self._target, self.source.classes[self._target]
        for name in self._names:
            if name not in names:
                raise unknown_name("class in data.unknown.classes", name, names)
        examples, pools = [], set()
        seen: dict[bool, list[Counter[str | None]]] = {
            unknown: [Counter() for _ in self.ranks] for unknown in (False, True)
        }
        held_out: dict[str, Counter[str | None]] = {name: Counter() for name in self._names}
        for sample in self.source.samples():
            pools.add(sample.pool)
            label = sample.labels[target]
            for rank, counts in zip(self.ranks, seen[label in held_out], strict=True):
                counts[sample.labels[rank]] += 1
            if label in held_out:
                held_out[label][sample.pool] += 1
                if sample.pool not in (None, HELD_OUT):
                    examples.append(sample.sample_id)
        known = dict(zip(self.ranks, seen[False], strict=True))
        left = len(known[target].keys() - {None})
        if left < FEWEST:
            raise TailproofError(
                f"data.unknown.classes holds out {len(self._names)} of "
                f"{quantity(len(names), 'class', 'classes')} of '{target}' and leaves {left}, but "
                f"a classifier needs at least {FEWEST}: hold out fewer classes"
            )
        _refuse_untested(held_out, official=HELD_OUT in pools)
        lost = {
            rank: counts.keys() - known[rank].keys()
            for rank, counts in zip(self.ranks, seen[True], strict=True)
        }
        return _Listing(known[target].total(), lost, held_out, tuple(examples[:3]))


def _refuse_untested(held_out: dict[str, Counter[str | None]], *, official: bool) -> None:
    for name, pools in held_out.items():
        if official and not pools[HELD_OUT]:
            raise TailproofError(
                f"data.unknown.classes: '{name}' has {quantity(pools.total(), 'picture')} in the "
                "official training and validation sets but none in the official test set, where "
                "unknown pictures are compared with known ones: name another class, or give "
                "pictures of it in data.unknown.source"
            )


class SourceAndUnknown(_Wrapper):
    """A source, and the pictures of another one, which are of no known class.

    Paths of unknown pictures are relative to the root of the source.
    """

    def __init__(self, source: Source, unknown: Source) -> None:
        super().__init__(source)
        self.unknown = unknown
        self._from, self._to = source.root or Path(), unknown.root or Path()
        self._start = f"{os.path.relpath(self._to, self._from)}/"

    @property
    def classes(self) -> dict[str, list[str]]:
        """The classes of the source."""
        return self.source.classes

    def files(self) -> list[Path]:
        """Return the files of both sources."""
        below = (os.path.relpath(path, self._to) for path in self.unknown.files())
        return [*self.source.files(), *(self._from / self._start / path for path in below)]

    def fetch(self) -> None:
        """Download what the sources need."""
        self.source.fetch()
        self.unknown.fetch()

    def __len__(self) -> int:
        return len(self.source) + len(self.unknown)

    def samples(self) -> Iterator[Sample]:
        """Yield the samples of the source, then the unknown ones."""
        yield from self.source.samples()
        finest = self.unknown.ranks[-1]
        for sample in self.unknown.samples():
            yield replace(
                _unlabelled(sample, self.ranks, sample.labels[finest]),
                sample_id=f"{MARK}{sample.sample_id}",
                path=self._start + sample.path,
                group=sample.group and f"{MARK}{sample.group}",
            )

    def skipped(self) -> list[Skipped]:
        """Return what both sources leave out."""
        others = self.unknown.skipped()
        marked = [replace(item, reason=f"data.unknown: {item.reason}") for item in others]
        return [*super().skipped(), *marked]

    def warnings(self) -> list[str]:
        """Return the warnings of both sources."""
        return [*super().warnings(), *(f"data.unknown: {text}" for text in self.unknown.warnings())]

    def read(self, path: str, row: int | None) -> bytes:
        """Return an image of one of the sources."""
        if path.startswith(self._start):
            return self.unknown.read(path.removeprefix(self._start), row)
        return self.source.read(path, row)

    def read_many(self, wanted: Sequence[tuple[str, int | None]]) -> Iterator[bytes]:
        """Yield images; a shard is of one of the sources."""
        if all(path.startswith(self._start) for path, _ in wanted):
            return self.unknown.read_many(
                [(path.removeprefix(self._start), row) for path, row in wanted]
            )
        if not any(path.startswith(self._start) for path, _ in wanted):
            return self.source.read_many(wanted)
        return super(_Wrapper, self).read_many(wanted)
