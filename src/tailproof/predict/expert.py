"""Loads an expert from its folder: model, temperatures, preprocessing and rejection rules."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tailproof.calibration.calibration_file import temperatures
from tailproof.calibration.metrics import log_probabilities
from tailproof.data.multiband import MODE
from tailproof.data.taxonomy import head_columns
from tailproof.digests import sha256_file
from tailproof.evaluation.deployment import Deployment
from tailproof.files import read_json
from tailproof.loading.augmentation import BatchAugment
from tailproof.models import load_expert
from tailproof.runtime.errors import TailproofError

WEIGHTS, CONFIG, CALIBRATION, DEPLOYMENT = (
    "model.safetensors",
    "config.json",
    "calibration.json",
    "deployment.json",
)
FILES = (WEIGHTS, CONFIG, CALIBRATION, DEPLOYMENT)


@dataclass(frozen=True)
class Expert:
    """A loaded expert, ready to predict.

    Attributes:
        model: the model, in evaluation mode on its device.
        device: device of the model.
        target: the taxonomic rank that decisions refer to.
        classes: class names of each rank with a head, in the order of the outputs.
        temperatures: temperature of each rank.
        shape: channels, height and width of the model's input.
        normalize: converts a batch of images to the model's input.
        deployment: the content of deployment.json.
    """

    model: nn.Module
    device: torch.device
    target: str
    classes: dict[str, list[str]]
    temperatures: dict[str, float]
    shape: tuple[int, int, int]
    normalize: BatchAugment
    deployment: Deployment

    @torch.inference_mode()
    def log_probabilities(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return calibrated log-probabilities float64 [N, C] of each rank, the target's first.

        Args:
            images: uint8 or float32 [N, H, W, C].

        Raises:
            TailproofError: a logit is not finite.
        """
        batch = torch.from_numpy(images).to(self.device)
        logits = self.model(self.normalize(batch, 1, np.arange(len(images))))
        logits = logits.float().cpu().numpy()
        if not np.isfinite(logits).all():
            raise TailproofError(
                "the expert computes logits that are not finite: check that the images have the "
                "same units as its training images, or train it again"
            )
        columns = head_columns({rank: len(names) for rank, names in self.classes.items()})
        by_rank = {
            rank: log_probabilities(logits[:, part] / np.float64(self.temperatures[rank]))
            for rank, part in columns.items()
        }
        return {self.target: by_rank.pop(self.target), **by_rank}


def open_expert(folder: str | Path) -> Expert:
    """Load an expert from its folder or a copy of it.

    Raises:
        TailproofError: it is not the folder of an expert, lacks a file, or holds files that do not
            belong together.
    """
    folder = Path(folder)
    _check_files(folder)
    calibration, deployment = read_json(folder / CALIBRATION), Deployment.read(folder / DEPLOYMENT)
    model, config = load_expert(folder)
    weights = sha256_file(folder / WEIGHTS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        made_for = {
            CALIBRATION: calibration["weights_sha256"],
            DEPLOYMENT: deployment.weights_sha256,
        }
        for name, digest in made_for.items():
            if digest != weights:
                raise TailproofError(
                    f"{folder / name} does not belong to {folder / WEIGHTS}, expected weights with "
                    f"SHA-256 {digest[:12]}…, found {weights[:12]}…: copy the whole folder again"
                )
        prepared, facts = config["pretrained_cfg"], config["tailproof"]
        names, columns = prepared["label_names"], head_columns(facts["heads"])
        full_scale = 1.0 if deployment.images == MODE else 255.0
        return Expert(
            model=model.to(device, memory_format=torch.channels_last),
            device=device,
            target=facts["target"],
            classes={rank: names[part] for rank, part in columns.items()},
            temperatures=temperatures(calibration, facts["target"]),
            shape=tuple(prepared["input_size"]),
            normalize=BatchAugment(prepared["mean"], prepared["std"], None, 0, full_scale),
            deployment=deployment,
        )
    except (AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise TailproofError(
            f"{folder} has files of an unexpected format ({type(error).__name__}: {error}): copy "
            "the whole folder again, or build it again with this version of Tailproof"
        ) from None


def _check_files(folder: Path) -> None:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if not missing:
        return
    if not folder.is_dir():
        raise TailproofError(
            f"{folder} is not a folder, expected the folder of an expert with {FILES[0]}"
        )
    if len(missing) == 1:
        raise TailproofError(
            f"{folder} has no {missing[0]}: copy the whole folder of the expert, or build the "
            "missing file with snakemake"
        )
    seeds = sorted(path.name for path in folder.glob("seed-*"))
    hint = f"; give one of its seeds, such as {folder / seeds[0]}" if seeds else ""
    raise TailproofError(
        f"{folder} is not the folder of an expert, because it has no {', '.join(missing)}; "
        f"expected results/NAME/experts/EXPERT/seed-S or a copy of it{hint}"
    )
