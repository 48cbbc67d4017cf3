"""What a run trains, and what it learns from: the one thing in which runs differ."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tailproof.config.recipe import Recipe
from tailproof.loading.batches import Batches, Rows
from tailproof.training.distributed import ProcessGroup


class Learner(Protocol):
    """A network that learns from images, or a head that learns from features.

    Attributes:
        configured: the recipe as the experiment has it.
        recipe: the recipe with the values that data and weights decide.
        manifest: the manifest of all splits.
    """

    configured: Recipe
    recipe: Recipe
    manifest: dict[str, Any]

    @property
    def train(self) -> Rows:
        """The split that it is trained on."""

    @property
    def val(self) -> Rows:
        """The split that it is validated on."""

    def loaders(
        self, seed: int, device: torch.device, ranks: ProcessGroup
    ) -> tuple[Sequence[Batches], Batches]:
        """Return the training loader of each phase, and that of validation."""

    def model(self, outputs: int, device: torch.device) -> nn.Module:
        """Return the model on the device, with its initial weights.

        Raises:
            TailproofError: the model, weights, data or device do not support the recipe.
        """

    def initialize(
        self,
        forward: Callable[[Tensor], Tensor],
        one_hot: Callable[[np.ndarray], Tensor],
        seed: int,
        device: torch.device,
        ranks: ProcessGroup,
    ) -> bool:
        """Set initial weights of the model that depend on the data; return whether there are any.

        Args:
            forward: forward pass of the model in evaluation.
            one_hot: returns the classes of rows of train, float32 [B, C].
            seed: the seed.
            device: device of the model.
            ranks: the processes that train together.
        """

    def precision(self, device: torch.device) -> str:
        """Return the precision that the device computes in: fp32, bf16 or fp16."""

    def forward(
        self, model: nn.Module, device: torch.device, precision: str
    ) -> Callable[[Tensor], Tensor]:
        """Return the forward pass of a model, from inputs to float32 logits [B, C]."""

    def export(
        self, folder: Path, model: nn.Module, class_names: list[str], facts: dict[str, Any]
    ) -> None:
        """Write model.safetensors and config.json of the whole network.

        Args:
            folder: folder to write both files to.
            model: the trained model.
            class_names: class names in the order of the outputs.
            facts: further plain values for config.json.
        """
