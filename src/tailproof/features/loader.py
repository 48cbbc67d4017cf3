"""Batches of stored features: from memory if they fit, else by row groups from the files."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tailproof.features.store import FeatureSplit
from tailproof.loading.batches import Batches
from tailproof.loading.sampler import uniforms


class FeatureLoader(Batches):
    """Delivers the features of a split, float32 [B, D].

    In training, a sample has one of its views in each epoch, which depends on seed, epoch and
    sample alone; in evaluation it has the first one. Batches are the same from memory and from
    files.

    Args:
        split: the features.
        batch_size: samples per batch.
        training: whether samples are shuffled.
        seed: seed of order and views.
        drop_last: whether training skips a smaller last batch.
        memory_budget: maximum bytes of features that are kept in memory.
        device: device of the batches.

    Raises:
        TailproofError: the split is empty, or a batch is larger than the split.
    """

    def __init__(
        self,
        split: FeatureSplit,
        *,
        batch_size: int,
        training: bool,
        seed: int = 0,
        drop_last: bool = False,
        memory_budget: float,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            split, batch_size=batch_size, training=training, seed=seed, drop_last=drop_last
        )
        self.device = torch.device(device)
        self._resides = split.size_in_memory <= memory_budget
        self._resident: Tensor | None = None
        self._starts = np.cumsum([0, *split.groups])
        self._cache: dict[int, np.ndarray] = {}  # oldest first

    def fetch(self, epoch: int, batches: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield the rows of each batch and their features."""
        if self._resides and self._resident is None:
            self._resident = torch.from_numpy(self.split.read_all()).to(self.device)
        for rows in batches:
            views = self._views(epoch, rows)
            if self._resident is not None:
                features = self._resident[
                    torch.from_numpy(rows).to(self.device), torch.from_numpy(views).to(self.device)
                ]
            else:
                features = torch.from_numpy(self._read(rows, views)).to(self.device)
            yield rows, features.float()

    def close(self) -> None:
        """Free memory."""
        self._resident, self._cache = None, {}

    def _views(self, epoch: int, rows: np.ndarray) -> np.ndarray:
        """Return the view of each row."""
        if not self.training or self.split.views == 1:
            return np.zeros(len(rows), np.int64)
        return (uniforms(self.seed, epoch, rows, 1)[:, 0] * self.split.views).astype(np.int64)

    def _read(self, rows: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Return the features of some rows from the files."""
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        features = np.empty((len(rows), self.split.width), self.split.dtype)
        for group in np.unique(groups).tolist():
            inside = groups == group
            features[inside] = self._group(group)[rows[inside] - self._starts[group], views[inside]]
        return features

    def _group(self, group: int) -> np.ndarray:
        """Return a row group; as many are kept as are shuffled together."""
        if group not in self._cache:
            self._cache[group] = self.split.read(group)
            kept = sum(map(len, self._cache.values()))
            for oldest in list(self._cache):
                kept -= len(self._cache[oldest])
                if kept < self.split.block_rows + max(self.split.groups):
                    break
                del self._cache[oldest]
        return self._cache[group]
