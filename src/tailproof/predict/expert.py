"""Loads an expert from its folder: model, calibrators, preprocessing and rejection rules."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tailproof.calibration.calibrator import Calibrator
from tailproof.calibration.metrics import log_probabilities
from tailproof.data.taxonomy import head_columns
from tailproof.digests import sha256_file
from tailproof.evaluation.deployment import Deployment
from tailproof.features import backbone_with_head  # noqa: F401 - it registers a network
from tailproof.loading.augmentation import BatchAugment
from tailproof.models.expert_weights import load_model
from tailproof.models.weights_header import read_header
from tailproof.predict.expert_folder import WEIGHTS, ExpertFolder
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable


@dataclass(frozen=True)
class Expert:
    """A loaded expert, ready to predict.

    Attributes:
        model: the model, in evaluation mode on its device.
        device: device of the model.
        target: the taxonomic rank that decisions refer to.
        classes: class names of each rank with a head, in the order of the outputs.
        calibrators: calibrator of each rank.
        shape: channels, height and width of the model's input.
        interpolation: how images are resized to it.
        normalize: converts a batch of images to the model's input.
        deployment: the content of deployment.json.
        shift: what `shifted` adds to the target's log-probabilities, [C]; None for nothing.
    """

    model: nn.Module
    device: torch.device
    target: str
    classes: dict[str, list[str]]
    calibrators: dict[str, Calibrator]
    shape: tuple[int, int, int]
    interpolation: str
    normalize: BatchAugment
    deployment: Deployment
    shift: np.ndarray | None = None

    @torch.inference_mode()
    def log_probabilities(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return calibrated log-probabilities float64 [N, C] of each rank, the target's first.

        Args:
            images: uint8 or float32 [N, H, W, C].

        Raises:
            TailproofError: the network does not accept the images, or a logit is not finite.
        """
        batch = torch.from_numpy(images).to(self.device)
        try:
            logits = self.model(self.normalize(batch, 1, np.arange(len(images))))
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            channels, height, width = self.shape
            raise TailproofError(
                f"the expert's network does not accept images of {height}×{width} pixels with "
                f"{channels} channels, which its config.json names ({printable(error):.200}): copy "
                "its folder again"
            ) from None
        logits = logits.float().cpu().numpy()
        if not np.isfinite(logits).all():
            raise TailproofError(
                "the expert computes logits that are not finite: check that the images have the "
                "same units as its training images, or train it again"
            )
        columns = head_columns({rank: len(names) for rank, names in self.classes.items()})
        by_rank = {
            rank: log_probabilities(self.calibrators[rank].apply(logits[:, part]))
            for rank, part in columns.items()
        }
        by_rank[self.target] = self.shifted(by_rank[self.target])
        if not all(np.isfinite(values).all() for values in by_rank.values()):
            raise TailproofError(
                "the expert computes probabilities that are not finite: copy its folder again"
            )
        return {self.target: by_rank.pop(self.target), **by_rank}

    def shifted(self, log_p: np.ndarray) -> np.ndarray:
        """Return the target's log-probabilities [N, C] for the images' own class shares."""
        return log_p if self.shift is None else log_probabilities(log_p + self.shift)


def open_expert(folder: str | Path) -> Expert:
    """Load an expert from its folder or a copy of it.

    Raises:
        TailproofError: it is not the folder of an expert, or its files are damaged, of another
            version, or do not belong together.
    """
    files = ExpertFolder.read(folder)
    weights = files.path / WEIGHTS
    read_header(weights)
    files.check_weights(sha256_file(weights))
    model = load_model(weights, files.config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prepared, target = files.config.pretrained_cfg, files.config.tailproof.target
    return Expert(
        model=model.to(device, memory_format=torch.channels_last),
        device=device,
        target=target,
        classes=files.config.classes,
        calibrators=files.calibration.calibrators(target),
        shape=tuple(prepared.input_size),
        interpolation=prepared.interpolation,
        normalize=BatchAugment(prepared.mean, prepared.std, None, 0, files.full_scale),
        deployment=files.deployment,
    )
