"""The optimizer: any of timm's, by name."""

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from torch import nn

from tailproof.config.recipe import Recipe
from tailproof.runtime.errors import TailproofError, unknown_name


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build timm's optimizer, without weight decay on normalization layers and biases.

    Raises:
        TailproofError: the name or an option is unknown.
    """
    config = recipe.optimizer
    if not any(parameter.requires_grad for parameter in model.parameters()):
        nothing: list[nn.Parameter] = []  # a head that was fitted
        return torch.optim.SGD([{"params": nothing}], lr=config.learning_rate)
    if config.name not in list_optimizers():
        raise unknown_name("optimizer", config.name, list_optimizers())
    try:
        return create_optimizer_v2(
            model,
            opt=config.name,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            **config.options,
        )
    except (TypeError, ValueError, RuntimeError, AssertionError, ImportError) as error:
        raise TailproofError(
            f"recipe.optimizer: {config.name} does not accept the options {config.options}: {error}"
        ) from error
