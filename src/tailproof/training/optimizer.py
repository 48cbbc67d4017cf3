"""The optimizer: any of timm's, by name."""

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from torch import nn

from tailproof.config.recipe import Recipe
from tailproof.models.network_parts import head_modules, is_within
from tailproof.runtime.errors import TailproofError, unknown_name


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build timm's optimizer, without weight decay on normalization layers and biases.

    Its groups have an `lr_scale` if the rate of the layers differs. Frozen weights are in none.

    Raises:
        TailproofError: the name or an option is unknown.
    """
    config = recipe.optimizer
    if not any(parameter.requires_grad for parameter in model.parameters()):
        nothing: list[nn.Parameter] = []  # a head that was fitted
        return torch.optim.SGD([{"params": nothing}], lr=config.learning_rate)
    if config.name not in list_optimizers():
        raise unknown_name("optimizer", config.name, map(str, list_optimizers()))
    try:
        optimizer = create_optimizer_v2(
            model,
            opt=config.name,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            layer_decay=config.layer_decay,
            **config.options,
        )
    except (TypeError, ValueError, RuntimeError, AssertionError, ImportError) as error:
        raise TailproofError(
            f"recipe.optimizer: {config.name} does not accept the options {config.options} "
            f"({error}): correct the options"
        ) from error
    if config.head_learning_rate_factor != 1:
        heads = head_modules(model)
        head = {id(own) for name, own in model.named_parameters() if is_within(name, heads)}
        _scale(optimizer, head, config.head_learning_rate_factor)
    return optimizer


def _scale(optimizer: torch.optim.Optimizer, chosen: set[int], factor: float) -> None:
    """Multiply the learning rate of chosen parameters, given by `id`, in groups of their own."""
    for group in list(optimizer.param_groups):
        scaled = [own for own in group["params"] if id(own) in chosen]
        if not scaled:
            continue
        others = [own for own in group["params"] if id(own) not in chosen]
        changed = group | {"params": scaled, "lr_scale": group.get("lr_scale", 1.0) * factor}
        if others:
            group["params"] = others
            optimizer.add_param_group(changed)
        else:
            group.update(changed)
