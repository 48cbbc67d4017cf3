"""A frozen backbone: the network, and how images are prepared for it."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from tailproof.config.frozen_backbone import Features
from tailproof.config.model import Model
from tailproof.data.normalization import normalization
from tailproof.files import read_json
from tailproof.loading.resizing import BICUBIC
from tailproof.models.backbone_layers import layers_of
from tailproof.models.folded_batch_norm import fold_batch_norms
from tailproof.models.initial_weights import backbone_facts, build_initial
from tailproof.models.input_sizes import check_sizes, options_for_size
from tailproof.models.precision import HALF, best_precision
from tailproof.models.preparation import interpolation_of, normalization_of
from tailproof.models.timm_network import place
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable

PIXELS, PIXELS_OF_GPU = 2**18, 2**23
"""Pixels of a batch."""

STORED: dict[str, np.dtype] = {
    "fp32": np.dtype(np.float32),
    "bf16": np.dtype(np.float16),
    "fp16": np.dtype(np.float16),
}


class Backbone:
    """A network with the weights of a recipe, that computes features of images.

    Args:
        model: name and weights.
        features: how images are embedded.
        normalize: `normalize` of the recipe.
        pixel_sums: the files of facts about all shards of train, if `normalize` is true.
        mode: mode of the images.
        channels: number of channels of the images.
        device: where to compute.

    Raises:
        TailproofError: the weights, the images, the size or the layers do not fit together.

    Attributes:
        size: side of the images in pixels; None is their original size.
        normalization: mean and std of each channel, in [0, 1] for 8-bit pixels.
        interpolation: how images are resized.
        precision: fp32, bf16 or fp16.
        dtype: the type in which the features are stored.
        layers: the width of each layer.
        options: the arguments of the model other than its name, classes and channels.
        device: where it computes.
        facts: all of this, and the digest of the weights, as plain values.
    """

    def __init__(
        self,
        model: Model,
        features: Features,
        normalize: bool | str | None,
        pixel_sums: Iterable[str],
        *,
        mode: str,
        channels: int,
        device: torch.device,
    ) -> None:
        facts = backbone_facts(model)
        self.size = features.size or _square(facts["input_size"])
        as_backbone = normalize in (None, "backbone")
        self.interpolation = interpolation_of(facts) if as_backbone else BICUBIC
        if normalize is False:
            self.normalization = {"mean": [0.0] * channels, "std": [1.0] * channels}
        elif normalize is True:
            sums = [read_json(path)["pixels"] for path in pixel_sums]
            self.normalization = normalization(sums)
        else:
            self.normalization = normalization_of(facts, mode, channels)
        self.precision = best_precision(device, features.precision)
        self.dtype = STORED[self.precision]
        self.options = options_for_size(model.name, model.options, self.size)
        self.device, self._half = device, HALF.get(self.precision)
        self._names = features.layers
        shape = (self.size, self.size) if self.size else tuple(facts["input_size"][1:])
        self._shape = (channels, *shape)
        network = build_initial(model, classes=0, channels=channels, options=self.options)
        check_sizes(network, model.name, channels, [shape])
        self._network: nn.Module = place(network.eval(), device, torch.channels_last)
        self.layers = self._measure(model.name)
        self.facts = {
            "model": model.name,
            "options": self.options,
            "weights_sha256": facts["sha256"],
            "size": self.size,
            "interpolation": self.interpolation,
            **self.normalization,
            "precision": self.precision,
            "dtype": self.dtype.name,
            "layers": list(map(list, self.layers.items())),  # JSON may reorder a mapping
        }
        if features.views > 1:
            self.facts["augmentation"] = features.view_augmentation.model_dump(mode="json")

    @property
    def width(self) -> int:
        """The number of features of a sample, of all layers together."""
        return sum(self.layers.values())

    @property
    def batch_rows(self) -> int:
        """The number of images that are computed together; it is the same on all processors."""
        _, height, width = self._shape
        pixels = PIXELS if self.device.type == "cpu" else PIXELS_OF_GPU
        return max(1, min(1024, pixels // (height * width)))

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> np.ndarray:
        """Return the features of normalized images, [B, width] of `dtype`."""
        computed = self._layers(images.contiguous(memory_format=torch.channels_last))
        joined = torch.cat(list(computed.values()), 1).float().cpu().numpy()
        return joined.astype(self.dtype)

    def _layers(self, images: Tensor) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, self._half, enabled=self._half is not None):
            return layers_of(self._network, images, self._names)

    @torch.no_grad()
    def _measure(self, name: str) -> dict[str, int]:
        """Return the width of each layer, and fold the batch norms of the network.

        Raises:
            TailproofError: the network has no such layer, or two of them are the same.
        """
        noise = torch.randn(2, *self._shape, generator=torch.Generator().manual_seed(0))
        noise = noise.to(self.device, memory_format=torch.channels_last)
        try:
            computed = layers_of(self._network, noise, self._names)
            widths = {layer: values.shape[1] for layer, values in computed.items()}
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise TailproofError(
                f"recipe.features.layers: '{name}' does not provide {' and '.join(self._names)} "
                f"({printable(error):.200}): choose another layer or another model"
            ) from None
        first, *others = computed.values()
        if any(same.shape == first.shape and torch.allclose(same, first) for same in others):
            raise TailproofError(
                f"recipe.features.layers: 'last' of '{name}' is the same as 'penultimate', "
                "because the input of its classifier is the average of the last feature map: "
                "remove one of the two"
            )

        def all_layers(network: nn.Module) -> Tensor:
            return torch.cat(list(layers_of(network, noise, self._names).values()), 1)

        self._network = fold_batch_norms(self._network, all_layers)
        return widths


def _square(input_size: list[int]) -> int | None:
    _, height, width = input_size
    return height if height == width else None
