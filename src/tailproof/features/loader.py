"""Batches of stored features: from memory if they fit, else by row groups from the files."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tailproof.features.store import FeatureSplit
from tailproof.loading.batches import Batches
from tailproof.loading.sampler import drop_oldest, uniforms


class FeatureLoader(Batches):
    """Delivers the features of a split, float32 [B, D].

    In training, a sample has one of its views in each epoch, which depends on seed, epoch and
    sample alone; in evaluation it has the first one. Batches are the same from memory and from
    files.

    Args:
        split: the features.
        batch_size: samples per batch.
        training: whether samples are drawn by the sampler.
        sampler: how training draws the samples of an epoch, as in the recipe.
        seed: seed of order and views.
        drop_last: whether training skips a smaller last batch.
        memory_budget: maximum bytes of features that are kept in memory.
        device: device of the batches.

    Raises:
        TailproofError: the split is empty, or a batch is larger than the split.
    """

    split: FeatureSplit

    def __init__(
        self,
        split: FeatureSplit,
        *,
        batch_size: int,
        training: bool,
        sampler: str = "instance",
        seed: int = 0,
        drop_last: bool = False,
        memory_budget: float,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            split,
            batch_size=batch_size,
            training=training,
            sampler=sampler,
            seed=seed,
            drop_last=drop_last,
        )
        self.device = torch.device(device)
        self._resides = split.size_in_memory <= memory_budget
        self._kept: np.ndarray | None = None
        self._resident: Tensor | None = None
        self._starts = np.cumsum([0, *split.groups])
        self._cache: dict[int, np.ndarray] = {}  # oldest first

    def fetch(self, epoch: int, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield the keys of each batch and their features."""
        if self._resident is None and self._kept is None:
            self._open()
        for keys in batches:
            rows, views = keys % len(self.split), self._views(epoch, keys)
            if self._resident is not None:
                features = self._resident[
                    torch.from_numpy(rows).to(self.device), torch.from_numpy(views).to(self.device)
                ]
            else:
                features = torch.from_numpy(self._read(rows, views)).to(self.device)
            yield keys, features.float()

    def close(self) -> None:
        """Free memory."""
        self._resident, self._kept, self._cache = None, None, {}

    def _views(self, epoch: int, keys: np.ndarray) -> np.ndarray:
        """Return the view of each sample; one that is drawn twice may have two."""
        if not self.training or self.split.views == 1:
            return np.zeros(len(keys), np.int64)
        return (uniforms(self.seed, epoch, keys, 1)[:, 0] * self.split.views).astype(np.int64)

    def _open(self) -> None:
        """Keep all features in memory, or else those that are drawn throughout an epoch."""
        if self._resides:
            self._resident = torch.from_numpy(self.split.read_all()).to(self.device)
            return
        kept = self.sampler.kept if self.training else np.empty(0, np.int64)
        self._places = np.full(len(self.split), -1)
        self._places[kept] = np.arange(len(kept))
        shape = (len(kept), self.split.views, self.split.width)
        self._kept = values = np.empty(shape, self.split.dtype)
        for group, inside in self._by_group(kept):
            values[inside] = self.split.read(group)[kept[inside] - self._starts[group]]

    def _read(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Return the features of some rows, from the files if they are not kept in memory."""
        assert self._kept is not None  # the loader is open
        features = np.empty((len(rows), self.split.width), self.split.dtype)
        places = self._places[rows]
        kept, others = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
        features[kept] = self._kept[places[kept], views[kept]]
        for group, inside in self._by_group(rows[others]):
            chosen = others[inside]
            values = self._group(group)
            features[chosen] = values[rows[chosen] - self._starts[group], views[chosen]]
        return features

    def _by_group(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each row group that has some of the rows, and whether each row is in it."""
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        for group in np.unique(groups).tolist():
            yield group, groups == group

    def _group(self, group: int) -> np.ndarray:
        """Return a row group; as many are kept as are shuffled together."""
        if group not in self._cache:
            self._cache[group] = self.split.read(group)
            drop_oldest(self._cache, self.split.block_rows + max(self.split.groups))
        return self._cache[group]
