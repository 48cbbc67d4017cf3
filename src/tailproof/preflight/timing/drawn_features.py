"""Features that cost nothing: the same numbers for every sample, to time and size heads with."""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from tailproof.config.head import RESCALED, Linear
from tailproof.config.recipe import FrozenBackbone, Recipe
from tailproof.features.store import FeatureSplit, rows_of_block
from tailproof.loading import Split
from tailproof.models import build_model
from tailproof.models.backbone_layers import layers_of
from tailproof.models.initial_weights import backbone_facts
from tailproof.models.input_sizes import options_for_size
from tailproof.training.head_on_features import HeadOnFeatures

STORED_BYTES = 4
"""Of a feature in fp32."""


class DrawnFeatures(FeatureSplit):
    """Takes the place of a `FeatureSplit`, with the labels and row groups of the shards.

    Args:
        split: the split.
        width: the number of features of a sample.
        views: number of views of each sample.
        backbone_bytes: size of the weights of the backbones.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, split: Split, width: int, views: int, backbone_bytes: int) -> None:
        self.name, self.manifest, self.groups = split.name, split.manifest, split.groups
        self.sample_ids, self.labels, self.weight = split.sample_ids, split.labels, split.weight
        self.width, self.views = width, views
        self.backbone_bytes = backbone_bytes
        self.row_bytes = views * self.width * STORED_BYTES
        self.block_rows = rows_of_block(self.row_bytes)
        self._values = np.random.default_rng(0).standard_normal(self.width, np.float32)

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def size_in_memory(self) -> int:
        """The size of all features in bytes."""
        return len(self) * self.row_bytes

    def read(self, group: int) -> np.ndarray:
        """Return the features of one row group, [rows, views, width], without taking memory."""
        return self._repeated(self.groups[group])

    def read_all(self) -> np.ndarray:
        """Return the features of all samples, [N, views, width], without taking memory."""
        return self._repeated(len(self))

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the rows of each row group and its features."""
        starts = list(accumulate(self.groups, initial=0))
        for start, rows in zip(starts, self.groups, strict=False):
            yield slice(start, start + rows), self._repeated(rows)

    def _repeated(self, rows: int) -> np.ndarray:
        shape, strides = (rows, self.views, self.width), (0, 0, STORED_BYTES)
        return np.lib.stride_tricks.as_strided(self._values, shape, strides)


@torch.inference_mode()
def head_on_drawn_features(manifest: str | Path, recipe: Recipe) -> HeadOnFeatures:
    """Return the head of a recipe, to be trained on drawn features.

    A head that rescales the backbone's own classifier costs what a linear one does.

    Raises:
        TailproofError: the network cannot be built, or does not accept the images.
    """
    train, val = (Split(manifest, name) for name in ("train", "val"))
    sizes = [_sizes(backbone, train.channels) for backbone in recipe.backbones]
    width, size = sum(width for width, _ in sizes), sum(size for _, size in sizes)
    if isinstance(recipe.head, RESCALED):
        recipe = recipe.model_copy(update={"head": Linear()})
    return HeadOnFeatures(
        DrawnFeatures(train, width, recipe.backbones[0].features.views, size),
        DrawnFeatures(val, width, 1, size),
        recipe,
    )


def _sizes(backbone: FrozenBackbone, channels: int) -> tuple[int, int]:
    """Return the number of features of a backbone, and the size of its weights in bytes."""
    model, features = backbone.model, backbone.features
    side = features.size or backbone_facts(model)["input_size"][1]
    options = options_for_size(model.name, model.options, side)
    network = build_model(model.name, classes=0, channels=channels, options=options).eval()
    computed = layers_of(network, torch.zeros(1, channels, side, side), features.layers)
    width = sum(values.shape[1] for values in computed.values())
    return width, sum(tensor.nbytes for tensor in network.state_dict().values())
