"""Batches of a split: every row as often as the sampler drew it, whatever the rows become."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tailproof.loading.sampler import Sampler, random_keys
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


class Rows(Protocol):
    """What batches need to know of a split.

    Attributes:
        name: name of the split.
        manifest: the manifest of all splits.
        sample_ids: id of each row.
        labels: class of each row, int64 [N] for each rank.
        groups: number of rows of each row group on disk.
    """

    name: str
    manifest: dict[str, Any]
    sample_ids: list[str]
    labels: dict[str, np.ndarray]
    groups: list[int]

    @property
    def block_rows(self) -> int:
        """Number of rows that are shuffled together, which a reader can keep."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Batch:
    """The share of a batch that one process gets.

    Attributes:
        inputs: of the network, float32: normalized images [B, C, H, W], or features [B, D].
        rows: row numbers in the split, int64 [B].
        real: number of rows, from the first, that count. The other rows fill up a batch whose
            size is not a multiple of the number of processes; another process delivers them too.
        size: number of samples of the batch in all processes together.
    """

    inputs: Tensor
    rows: np.ndarray
    real: int
    size: int


class Batches:
    """Delivers the rows of a split in batches: shuffled for training, in order for evaluation.

    What the rows become is decided by a subclass.

    Args:
        split: the split to deliver.
        batch_size: samples per batch in all processes together; the last batch of an epoch may
            be smaller.
        training: whether rows are drawn by the sampler.
        sampler: how training draws the rows of an epoch, as in the recipe.
        seed: seed of the order.
        drop_last: whether training skips a smaller last batch.
        rank: number of this process among those that share each batch.
        world: number of those processes.
        total: a function that sums counts over those processes.

    Raises:
        TailproofError: the split is empty, or a batch is larger than the split.
    """

    def __init__(
        self,
        split: Rows,
        *,
        batch_size: int,
        training: bool,
        sampler: str = "instance",
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        total: Callable[[Tensor], Tensor] = lambda counts: counts,
    ) -> None:
        if not len(split):
            raise TailproofError(
                f"the split {split.name} is empty: change the fractions in data.splits"
            )
        self.training = training
        self.drop_last = drop_last and training
        if self.drop_last and batch_size > len(split):
            raise TailproofError(
                f"recipe.batch_size is {batch_size}, but the split {split.name} has "
                f"{quantity(len(split), 'sample')}, so drop_last leaves no batch: lower batch_size"
            )
        self.split, self.batch_size, self.seed = split, batch_size, seed
        labels = split.labels[split.manifest["target"]]
        self.sampler = Sampler(sampler, labels, split.groups, split.block_rows, seed)
        self._rank, self._world, self._total = rank, world, total

    def fetch(self, epoch: int, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield the keys of each batch and the network's inputs for them.

        A key is a row, plus the number of rows each further time in an epoch, so that random
        numbers of a row that is drawn twice differ.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the worker processes and free memory. No epoch can be delivered afterwards."""

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def order(self, epoch: int) -> np.ndarray:
        """Return the rows of an epoch in the order of delivery, int64."""
        if not self.training:
            return np.arange(len(self.split))
        return self.sampler.order(epoch)[: len(self) * self.batch_size]

    def epoch(self, epoch: int, first: int = 1) -> Iterator[Batch]:
        """Yield the share of this process of the batches of an epoch, starting at batch `first`.

        Epochs and batches are numbered from 1.

        Raises:
            TailproofError: a sample was not delivered as often as the order has it.
        """
        count = len(self.split)
        order = random_keys(self.order(epoch), count)[(first - 1) * self.batch_size :]
        batches = [
            order[start : start + self.batch_size]
            for start in range(0, len(order), self.batch_size)
        ]
        shares = [self._share(batch) for batch in batches]
        delivered = np.zeros(count, np.int64)
        fetched = self.fetch(epoch, [keys for keys, _ in shares])
        for batch, (_, real), (keys, inputs) in zip(batches, shares, fetched, strict=True):
            rows = keys % count
            np.add.at(delivered, rows[:real], 1)
            yield Batch(inputs, rows, real, len(batch))
        self._check(delivered, order % count, epoch)

    def _share(self, batch: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the keys of this process, as many as in every process, and how many of them count.

        The keys that count, of one process after the other, are the batch.
        """
        size = -(-len(batch) // self._world)
        keys = batch[self._rank * size : (self._rank + 1) * size]
        return np.concatenate([keys, np.repeat(batch[-1:], size - len(keys))]), len(keys)

    def _check(self, delivered: np.ndarray, order: np.ndarray, epoch: int) -> None:
        delivered = self._total(torch.from_numpy(delivered)).numpy()
        wrong = np.flatnonzero(delivered != np.bincount(order, minlength=len(self.split)))
        if wrong.size:
            raise TailproofError(
                f"in epoch {epoch}, the loader did not deliver {quantity(wrong.size, 'sample')} of "
                f"{self.split.name} exactly as often as the sampler drew them, such as "
                f"{self.split.sample_ids[wrong[0]]}: report this as an issue of Tailproof"
            )
