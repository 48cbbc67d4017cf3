"""A network that learns from images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tailproof.config.recipe import Recipe
from tailproof.loading import Loader, Split
from tailproof.models import save_expert
from tailproof.models.network_parts import head_modules
from tailproof.models.precision import best_precision
from tailproof.training.builders import Forward, build_loader, initial_model
from tailproof.training.distributed import ProcessGroup
from tailproof.training.initial_head import class_means
from tailproof.training.preprocessing import preprocessing, with_backbone_size


class NetworkOnImages:
    """A network that is trained on the images of the shards; see `tailproof.training.learner`.

    Args:
        manifest: shards/manifest.json.
        recipe: the recipe.

    Raises:
        TailproofError: a shard is missing or damaged, or the weights have not been fetched.
    """

    def __init__(self, manifest: str | Path, recipe: Recipe) -> None:
        self.configured, self.recipe = recipe, with_backbone_size(recipe)
        self.train, self.val = (Split(manifest, name) for name in ("train", "val"))
        self.manifest = self.train.manifest

    def loaders(
        self, seed: int, device: torch.device, ranks: ProcessGroup
    ) -> tuple[list[Loader], Loader]:
        """Return the training loader of each phase, and that of validation."""
        building = (seed, device, ranks)
        # One per phase, so that errors in a later one surface now. Only the current one is open.
        return [
            build_loader(self.train, self.recipe, phase, *building)
            for phase in self.recipe.timeline
        ], build_loader(self.val, self.recipe, None, *building)

    def model(self, outputs: int, device: torch.device) -> nn.Module:
        """Return the model on the device, with its initial weights."""
        built = initial_model(self.recipe, outputs, self.train, device)
        self._model, self._arguments = built
        return self._model

    @torch.no_grad()
    def initialize(
        self,
        forward: Callable[[Tensor], Tensor],
        one_hot: Callable[[np.ndarray], Tensor],
        seed: int,
        device: torch.device,
        ranks: ProcessGroup,
    ) -> bool:
        """Let a cosine head start at the class means; return whether there is one."""
        if not (self.recipe.tune and self.recipe.tune.head == "cosine"):
            return False
        assert isinstance(forward, Forward)  # the method `forward` made it
        loader = build_loader(self.train, self.recipe, None, seed, device, ranks)
        means = class_means(forward, loader, one_hot, ranks.sum)
        self._model.get_parameter(f"{head_modules(self._model)[0]}.weight").copy_(means)
        loader.close()
        return True

    def precision(self, device: torch.device) -> str:
        """Return the precision that the device computes in."""
        return best_precision(device, self.recipe.precision)

    def forward(self, model: nn.Module, device: torch.device, precision: str) -> Forward:
        """Return the forward pass of a model."""
        return Forward(model, device, precision, self.recipe.channels_last)

    def export(
        self, folder: Path, model: nn.Module, class_names: list[str], facts: dict[str, Any]
    ) -> None:
        """Write model.safetensors and config.json."""
        save_expert(
            folder,
            model,
            model_args=self._arguments,
            preprocessing=preprocessing(self.train, self.recipe),
            class_names=class_names,
            facts=facts,
        )
