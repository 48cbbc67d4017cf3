"""Networks that are loaded to predict: prepared images in, raw logits out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tailproof.data.taxonomy import head_columns
from tailproof.loading.augmentation import BatchAugment
from tailproof.models.expert_config import ExpertConfig
from tailproof.models.timm_network import place
from tailproof.predict.classifier_inputs import with_features
from tailproof.predict.preparation import Preparation
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable

FEATURES = "/features"
"""The name of the features among raw logits by the name of their expert; no expert can have it."""


@dataclass(frozen=True)
class Network:
    """The network of an expert, or of several that share it, in evaluation mode on its device.

    Attributes:
        outputs: the number of outputs of each expert, in the order of the model's outputs.
        model: computes raw logits [N, outputs] of normalized images [N, C, H, W].
        device: device of the model.
        preparation: what the model takes of an image.
        normalize: converts a batch of images to the model's input.
        with_features: whether `raw_logits` also gives what the classifier gets, as `FEATURES`.
    """

    outputs: dict[str, int]
    model: nn.Module
    device: torch.device
    preparation: Preparation
    normalize: BatchAugment
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
        prepared = config.pretrained_cfg
        channels, height, width = prepared.input_size
        return cls(
            outputs,
            place(model, device, torch.channels_last),
            device,
            Preparation((channels, height, width), prepared.interpolation),
            BatchAugment(prepared.mean, prepared.std, None, 0, full_scale),
        )

    @torch.inference_mode()
    def raw_logits(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the raw logits of each expert, float32 [N, outputs], by its name.

        If it is `with_features`, they are [N, D] by the name `FEATURES`.

        Args:
            images: uint8 or float32 [N, H, W, C], as `preparation` says.

        Raises:
            TailproofError: the model does not accept the images, or a logit is not finite.
        """
        batch = torch.from_numpy(images).to(self.device)
        try:
            inputs = self.normalize(batch, 1, np.arange(len(images)))
            if self.with_features:
                logits, features = with_features(self.model, inputs)
            else:
                logits, features = self.model(inputs), None
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            channels, height, width = self.preparation.shape
            raise TailproofError(
                f"the expert's network does not accept images of {height}×{width} pixels with "
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
            raw[FEATURES] = features.float().cpu().numpy()
        return raw
