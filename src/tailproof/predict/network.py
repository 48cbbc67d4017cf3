"""Networks that are loaded to predict: prepared images in, raw logits out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tailproof.data.taxonomy import head_columns
from tailproof.loading.augmentation import BatchAugment
from tailproof.models.expert_config import ExpertConfig, ImageInput
from tailproof.models.timm_network import place
from tailproof.predict.classifier_inputs import with_features
from tailproof.predict.preparation import Preparation
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable

FEATURES = "/features"
"""After the name of an expert: the name of its features among raw logits; no expert has such."""


@dataclass(frozen=True)
class Network:
    """The network of an expert, or of several that share it, in evaluation mode on its device.

    Attributes:
        outputs: the number of outputs of each expert, in the order of the model's outputs.
        model: computes raw logits [N, outputs] of normalized images [N, C, H, W], of one input or
            of several.
        device: device of the model.
        preparations: what the model takes of an image, for each of its inputs.
        normalize: converts a batch of images to each of these inputs.
        with_features: whether `raw_logits` also gives what each classifier gets.
    """

    outputs: dict[str, int]
    model: nn.Module
    device: torch.device
    preparations: tuple[Preparation, ...]
    normalize: tuple[BatchAugment, ...]
    with_features: bool = False

    @classmethod
    def of(
        cls, outputs: dict[str, int], model: nn.Module, config: ExpertConfig, full_scale: float
    ) -> "Network":
        """Move a loaded model to the GPU, if there is one.

        Args:
            outputs: the number of outputs of each expert.
            model: the model, in evaluation mode.
            config: config.json of an expert, which says what the model takes of an image.
            full_scale: the value of a white pixel.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        inputs = config.inputs
        return cls(
            outputs,
            place(model, device, torch.channels_last),
            device,
            tuple(map(_preparation, inputs)),
            tuple(BatchAugment(taken.mean, taken.std, None, 0, full_scale) for taken in inputs),
        )

    @torch.inference_mode()
    def raw_logits(self, *images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the raw logits of each expert, float32 [N, outputs], by its name.

        If it is `with_features`, the features of each expert, [N, D], are there by its name with
        `FEATURES`.

        Args:
            images: uint8 or float32 [N, H, W, C], for each of `preparations`.

        Raises:
            TailproofError: the model does not accept the images, or a logit is not finite.
        """
        rows = np.arange(len(images[0]))
        try:
            inputs = [
                normalize(torch.from_numpy(batch).to(self.device), 1, rows)
                for normalize, batch in zip(self.normalize, images, strict=True)
            ]
            if self.with_features:
                logits, features = with_features(self.model, *inputs)
            else:
                logits, features = self.model(*inputs), None
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            channels, *_ = self.preparations[0].shape
            sizes = [f"{height}×{width}" for (_, height, width), _ in self.preparations]
            raise TailproofError(
                f"the expert's network does not accept images of {' and '.join(sizes)} pixels with "
                f"{channels} channels, which its config.json names ({printable(error):.200}): copy "
                "its folder again"
            ) from None
        values = logits.float().cpu().numpy()
        if not np.isfinite(values).all():
            raise TailproofError(
                "the expert computes logits that are not finite: check that the images have the "
                "same units as its training images, or train it again"
            )
        columns = head_columns(self.outputs)
        raw = {expert: values[:, part] for expert, part in columns.items()}
        if features is not None:
            shared = features.float().cpu().numpy()
            raw |= {expert + FEATURES: shared for expert in columns}
        return raw


def _preparation(taken: ImageInput) -> Preparation:
    channels, height, width = taken.input_size
    return Preparation((channels, height, width), taken.interpolation)
