"""The features of several backbones next to each other, read as those of one."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from tailproof.features.store import AGAIN, FeatureSplit
from tailproof.runtime.errors import TailproofError

SHORTEST = 1e-12
"""Smallest length that features are divided by."""


class ConcatenatedSplit(FeatureSplit):
    """The stored features of one split, of several backbones.

    For every image, the features of each backbone are first scaled to length 1, so that no backbone
    outweighs another in a distance; `tailproof.features.backbone_with_head` does the same.

    Args:
        stores: the features of each backbone.

    Raises:
        TailproofError: they are not of the same samples in the same order, or two are the same.

    Attributes:
        stores: the features of each backbone.
    """

    def __init__(self, stores: Sequence[FeatureSplit]) -> None:
        for one, other in combinations(stores, 2):
            _check_pair(one, other)
        first = stores[0]
        self.stores = list(stores)
        self.name, self.manifest, self.groups = first.name, first.manifest, first.groups
        self.sample_ids, self.labels, self.weight = first.sample_ids, first.labels, first.weight
        self.paths = [path for store in stores for path in store.paths]
        self.width, self.views = sum(store.width for store in stores), first.views
        self.dtype = np.dtype(np.float32)

    def read(self, group: int) -> np.ndarray:
        """Return the features of the samples of one row group, float32 [rows, views, width].

        Raises:
            TailproofError: a file is damaged.
        """
        features = np.empty((self.groups[group], self.views, self.width), self.dtype)
        start = 0
        for store in self.stores:
            end = start + store.width
            values = store.read(group).astype(np.float32)
            lengths = np.linalg.norm(values, axis=2, keepdims=True)
            np.divide(values, np.maximum(lengths, SHORTEST), out=features[:, :, start:end])
            start = end
        return features


def open_features(folders: Sequence[str | Path], manifest: str | Path, name: str) -> FeatureSplit:
    """Open the features of one split, of one backbone or next to each other.

    Args:
        folders: the folder of the features of each backbone.
        manifest: shards/manifest.json of an experiment.
        name: the name of the split.

    Raises:
        TailproofError: a file is missing or damaged, or its features are not those of the shards of
            the manifest.
    """
    stores = [FeatureSplit(folder, manifest, name) for folder in folders]
    return stores[0] if len(stores) == 1 else ConcatenatedSplit(stores)


def stores_of(split: FeatureSplit) -> list[FeatureSplit]:
    """Return the features of each backbone."""
    return split.stores if isinstance(split, ConcatenatedSplit) else [split]


def _check_pair(one: FeatureSplit, other: FeatureSplit) -> None:
    paths = f"{other.paths[0]} and {one.paths[0]}"
    if other.facts == one.facts:
        raise TailproofError(
            f"{paths} are the same features, because their weights, images and layers are the "
            "same: remove one of the backbones from recipe.features.concat, or change its size "
            "or layers"
        )
    if other.views != one.views:
        raise TailproofError(
            f"{paths} have {other.views} and {one.views} views of an image, expected the same "
            f"number: {AGAIN}"
        )
    if other.groups != one.groups or other.sample_ids != one.sample_ids:
        raise TailproofError(
            f"{paths} do not have the same samples in the same order, so they cannot be "
            "concatenated: delete both and run snakemake again"
        )
