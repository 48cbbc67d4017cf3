"""The order and random numbers of an epoch, as functions of (seed, epoch, sample) only."""

from collections.abc import Iterator, Sized
from typing import TypeVar

import numpy as np
import numpy.random  # otherwise its first use loads it while the first batch is awaited

RowGroup = TypeVar("RowGroup", bound=Sized)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def epoch_order(groups: list[int], seed: int, epoch: int, block_rows: int) -> np.ndarray:
    """Return every row once, shuffled so that a reader needs only a few row groups at a time.

    Row groups are permuted and gathered into blocks of at least `block_rows` rows. Then rows are
    permuted within each block. A split of up to `block_rows` rows is thus fully shuffled.

    Args:
        groups: number of rows of each row group, in the order of the shards.
        seed: seed of the run.
        epoch: number of the epoch, from 1.
        block_rows: minimum number of rows of a block.

    Returns:
        Row numbers, int64 [sum(groups)].
    """
    rng = np.random.default_rng([seed, epoch])
    return np.concatenate([rng.permutation(block) for block in _blocks(groups, rng, block_rows)])


def _blocks(groups: list[int], rng: np.random.Generator, block_rows: int) -> Iterator[np.ndarray]:
    """Yield the rows of each block; every block is drawn when it is asked for."""
    starts = np.concatenate([[0], np.cumsum(groups)])
    block, rows = [], 0
    for group in rng.permutation(len(groups)):
        block.append(np.arange(starts[group], starts[group + 1]))
        rows += groups[group]
        if rows >= block_rows:
            yield np.concatenate(block)
            block, rows = [], 0
    if block:
        yield np.concatenate(block)


def drop_oldest(row_groups: dict[int, RowGroup], rows: int) -> None:
    """Drop the row groups that were read first, while the others have at least `rows` rows.

    A reader that keeps a block's rows and one row group more reads each row group once per epoch.
    """
    kept = sum(map(len, row_groups.values()))
    for oldest in list(row_groups):
        kept -= len(row_groups[oldest])
        if kept < rows:
            break
        del row_groups[oldest]


EXPONENTS = {"instance": 1.0, "square_root": 0.5, "class_aware": 0.0}
"""A class of n samples is drawn with a probability in proportion to n to this power."""


class Sampler:
    """Draws the rows of each epoch, as many as there are (Kang et al. 2020, equation 1).

    Each class has its share of an epoch, rounded at random, and its rows are drawn equally often
    up to one. A reader needs the row groups of a block at a time, as with `epoch_order`. Draws of
    a class with few rows would then be crowded into a few blocks. Rows of the smallest classes, at
    most as many as a block has, are therefore drawn throughout the epoch, and the reader must keep
    them.

    Args:
        name: ``instance`` (every row once), ``square_root`` or ``class_aware``.
        labels: class of each row, int64 [N].
        groups: number of rows of each row group, in the order of the shards.
        block_rows: minimum number of rows of a block.
        seed: seed of the run.

    Attributes:
        kept: the rows that are drawn throughout the epoch, int64, ascending.
    """

    def __init__(
        self, name: str, labels: np.ndarray, groups: list[int], block_rows: int, seed: int
    ) -> None:
        self._groups, self._block_rows, self._seed = groups, block_rows, seed
        _, self._labels, self._sizes = np.unique(labels, return_inverse=True, return_counts=True)
        shares = self._sizes ** EXPONENTS[name]
        self._draws = len(labels) * shares / shares.sum()
        self._once = name == "instance"
        self.kept = self._rows_to_keep()

    def _rows_to_keep(self) -> np.ndarray:
        if self._once or len(self._labels) <= self._block_rows:
            return np.empty(0, np.int64)
        smallest = np.argsort(self._sizes, kind="stable")
        kept = smallest[np.cumsum(self._sizes[smallest]) <= self._block_rows]
        kept = kept[self._draws[kept] > self._sizes[kept]]
        return np.flatnonzero(np.isin(self._labels, kept))

    def order(self, epoch: int) -> np.ndarray:
        """Return the rows of an epoch in their order, int64 [N]; epochs are numbered from 1."""
        if self._once:
            return epoch_order(self._groups, self._seed, epoch, self._block_rows)
        counts = self.counts(epoch)
        rng = np.random.default_rng([self._seed, epoch])
        throughout = rng.permutation(np.repeat(self.kept, counts[self.kept]))
        counts[self.kept] = 0
        blocks = [
            np.repeat(block, counts[block])
            for block in _blocks(self._groups, rng, self._block_rows)
        ]
        ends = np.cumsum([len(block) for block in blocks])
        spread = np.split(throughout, len(throughout) * ends[:-1] // ends[-1])
        return np.concatenate(
            [
                rng.permutation(np.concatenate([block, part]))
                for block, part in zip(blocks, spread, strict=True)
            ]
        )

    def counts(self, epoch: int) -> np.ndarray:
        """Return how often each row is drawn in an epoch, int64 [N], with the sum N."""
        if self._once:
            return np.ones(len(self._labels), np.int64)
        rng = np.random.default_rng([self._seed, epoch, 1])
        ends = np.floor(np.cumsum(self._draws) + rng.random()).astype(np.int64)
        ends[-1] = len(self._labels)
        draws = np.diff(ends, prepend=0)
        # The position of each row in a random order of its class.
        shuffled = rng.permutation(len(self._labels))
        by_class = shuffled[np.argsort(self._labels[shuffled], kind="stable")]
        position = np.arange(len(by_class)) - np.repeat(
            np.cumsum(self._sizes) - self._sizes, self._sizes
        )
        whole, rest = np.divmod(draws, self._sizes)
        counts = np.empty(len(by_class), np.int64)
        counts[by_class] = np.repeat(whole, self._sizes) + (position < np.repeat(rest, self._sizes))
        return counts


def random_keys(order: np.ndarray, rows: int) -> np.ndarray:
    """Return a key of random numbers for each sample of an epoch; a row has another each time.

    Args:
        order: the rows of an epoch, int64 [N], of which some may be repeated.
        rows: number of rows of the split.

    Returns:
        int64 [N]: the row itself the first time, and `rows` more each further time.
    """
    by_row = np.argsort(order, kind="stable")
    starts = np.flatnonzero(np.diff(order[by_row], prepend=-1))
    lengths = np.diff(starts, append=len(order))
    before = np.empty(len(order), np.int64)
    before[by_row] = np.arange(len(order)) - np.repeat(starts, lengths)
    return order + rows * before


def uniforms(seed: int, epoch: int, rows: np.ndarray, draws: int) -> np.ndarray:
    """Return random numbers in [0, 1) for each row, float64 [len(rows), draws].

    The generator is counter-based (the finaliser of SplitMix64, Steele et al. 2014). Each number
    depends only on its (seed, epoch, row, draw), not on the rest of the batch.
    """
    bits = random_bits(seed, epoch, rows, draws)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def random_bits(seed: int, epoch: int, rows: np.ndarray, draws: int) -> np.ndarray:
    """Return 64 random bits for each row and draw, uint64 [len(rows), draws]."""
    key = _mix(np.array([seed], np.uint64) * _GOLDEN + np.uint64(epoch))
    by_row = _mix(key ^ (rows.astype(np.uint64) * _GOLDEN))
    counter = np.arange(1, draws + 1, dtype=np.uint64) * _GOLDEN
    return _mix(by_row[:, None] + counter[None, :])


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
