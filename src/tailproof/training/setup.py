"""What a run is built from, each piece checked against the recipe."""

import os
from typing import Any

import numpy as np
import torch
from timm.data import Mixup
from timm.optim import create_optimizer_v2, list_optimizers
from torch import Tensor, nn

from tailproof.core.config.recipe import Recipe
from tailproof.core.errors import TailproofError, choose
from tailproof.data.loader import Batch, Loader, Split


class Forward:
    """The model's forward pass in the recipe's precision and memory format."""

    def __init__(
        self, model: nn.Module, device: torch.device, precision: str, channels_last: bool
    ) -> None:
        self.model, self._device, self._half = model, device.type, precision == "bf16"
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits [B, C] of images [B, channels, H, W]."""
        images = images.contiguous(memory_format=self._format)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._half):
            return self.model(images).float()


def start_device(threads: int) -> torch.device:
    """Choose the device and make what runs on it repeatable."""
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        return torch.device("cuda")
    return torch.device("cpu")


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build timm's optimizer; norms and biases are not decayed.

    Raises:
        TailproofError: an unknown name or option.
    """
    config = recipe.optimizer
    if config.name not in list_optimizers():
        raise choose("optimizer", config.name, list_optimizers())
    try:
        return create_optimizer_v2(
            model,
            opt=config.name,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            **config.options,
        )
    except (TypeError, ValueError) as error:
        raise TailproofError(
            f"recipe.optimizer: {config.name} does not take {config.options}: {error}"
        ) from error


def build_mixing(recipe: Recipe, classes: int) -> Mixup | None:
    """Build timm's MixUp and CutMix, or None where the recipe has neither."""
    mixing = recipe.mixing
    if not (mixing.mixup or mixing.cutmix):
        return None
    return Mixup(
        mixup_alpha=mixing.mixup,
        cutmix_alpha=mixing.cutmix,
        prob=mixing.probability,
        switch_prob=mixing.switch_probability,
        label_smoothing=0.0,  # the loss smooths
        num_classes=classes,
    )


def mix(
    mixing: Mixup | None, batch: Batch, truth: Tensor, seed: int, epoch: int, step: int
) -> tuple[Tensor, Tensor]:
    """Return the images and targets to train on; soft targets [B, C] where images are mixed."""
    if mixing is None:
        return batch.images, truth
    # timm draws from numpy's global generator: seeded for each step, a resumed run draws the same.
    np.random.seed(np.random.SeedSequence([seed, epoch, step]).generate_state(1))
    return mixing(batch.images, truth)


def build_loader(split: Split, recipe: Recipe, seed: int, device: torch.device) -> Loader:
    """Build the loader of train (augmented, shuffled) or of another split (in order)."""
    training = split.name == "train"
    return Loader(
        split,
        batch_size=recipe.batch_size,
        image_size=recipe.image_size,
        normalisation=split.manifest["normalisation"],
        augmentation=recipe.augmentation if training else None,
        seed=seed,
        drop_last=recipe.drop_last and training,
        workers=recipe.workers,
        memory_budget=recipe.memory_budget_gb * 2**30,
        device=device,
    )


def preprocessing(split: Split, recipe: Recipe) -> dict[str, Any]:
    """Return how images become the model's input, in timm's words; it travels with the weights."""
    manifest = split.manifest
    size = [recipe.image_size] * 2 if recipe.image_size else [manifest["height"], manifest["width"]]
    return {
        "input_size": [split.channels, *size],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        **manifest["normalisation"],
    }
