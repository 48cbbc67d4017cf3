"""Builders of the model and loaders of a network that learns from images; they check the recipe."""

import os
import shutil
from typing import Any

import torch
from torch import Tensor, nn

from tailproof.config.recipe import Recipe, WholePhase
from tailproof.loading import Loader, Split
from tailproof.models.build import checkpoint_activations
from tailproof.models.initial_weights import build_initial
from tailproof.models.input_sizes import check_sizes, options_for_sizes
from tailproof.models.precision import HALF
from tailproof.models.timm_network import place
from tailproof.models.tuning import tune_network
from tailproof.runtime.errors import TailproofError
from tailproof.training.distributed import ProcessGroup
from tailproof.training.preprocessing import (
    interpolation,
    network_sizes,
    normalization,
    sizes,
    view_size,
)


class Forward:
    """A model's forward pass in the recipe's precision and memory format."""

    def __init__(
        self, model: nn.Module, device: torch.device, precision: str, channels_last: bool
    ) -> None:
        self.model, self._device, self._half = model, device.type, HALF.get(precision)
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits [B, C] of images [B, channels, H, W]."""
        images = images.contiguous(memory_format=self._format)
        with torch.autocast(self._device, self._half, enabled=self._half is not None):
            return self.model(images).float()


def initial_model(
    recipe: Recipe, classes: int, split: Split, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the recipe's model on the device, with its initial weights, and its arguments.

    The arguments are those that timm builds the exported model with, other than classes and
    channels.

    Raises:
        TailproofError: the model, weights, image sizes or device do not support the recipe.
    """
    options = model_options(split, recipe)
    model = build_initial(recipe.model, classes=classes, channels=split.channels, options=options)
    if recipe.sync_batchnorm:
        if device.type != "cuda":
            raise TailproofError("recipe.sync_batchnorm needs GPUs, found none: remove it")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    arguments = tune_network(model, recipe, options, classes, view_size(recipe))
    check_sizes(model, recipe.model.name, split.channels, sizes(split, recipe))
    if (
        recipe.compile
        and device.type == "cpu"
        and shutil.which(os.environ.get("CXX", "g++")) is None
    ):
        raise TailproofError(
            "recipe.compile needs a C++ compiler (g++), found none: install one or remove compile"
        )
    if recipe.activation_checkpointing:
        checkpoint_activations(model, recipe.model.name)
    memory = torch.channels_last if recipe.channels_last else torch.preserve_format
    return place(model, device, memory), arguments


def build_loader(
    split: Split,
    recipe: Recipe,
    phase: WholePhase | None,
    seed: int,
    device: torch.device,
    ranks: ProcessGroup,
) -> Loader:
    """Build the shuffled, augmented training loader of a phase; without one, that of validation.

    Validation uses one image size throughout, so that epochs are comparable.
    """
    return Loader(
        split,
        batch_size=phase.batch_size if phase else recipe.batch_size,
        image_size=phase.image_size if phase else recipe.final_size,
        normalization=normalization(split, recipe),
        interpolation=interpolation(recipe),
        augmentation=phase.augmentation if phase else None,
        sampler=phase.sampler if phase else "instance",
        seed=seed,
        drop_last=recipe.drop_last,
        workers=recipe.workers,
        memory_budget=recipe.cache_gb * 2**30,
        device=device,
        rank=ranks.rank,
        world=ranks.world,
        total=ranks.sum,
    )


def model_options(split: Split, recipe: Recipe) -> dict[str, Any]:
    """Return the arguments of the model other than its name, classes and channels."""
    return options_for_sizes(recipe.model.name, recipe.model.options, network_sizes(split, recipe))
