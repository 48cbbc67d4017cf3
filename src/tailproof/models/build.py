"""Builds models through timm's registry."""

from typing import Any

import timm
from torch import nn

from tailproof.models.model_options import check_options
from tailproof.models.timm_network import as_timm
from tailproof.runtime.errors import TailproofError, unknown_name


def build_model(
    name: str,
    *,
    classes: int,
    channels: int,
    options: dict[str, Any],
    pretrained: dict[str, Any] | None = None,
) -> nn.Module:
    """Build a model whose head and first layer fit the data.

    Args:
        name: a model of timm's registry, which includes those of `tailproof.models`.
        classes: number of outputs.
        channels: number of channels of the images.
        options: further arguments of the model.
        pretrained: timm's description of the weights to start from. Default: random weights.

    Raises:
        TailproofError: the name or an option is unknown, or the weights do not fit.
    """
    if not timm.is_model(name.split(".", maxsplit=1)[0]):
        raise unknown_name("model", name, timm.list_models())
    try:
        check_options(options)
    except ValueError as error:
        raise TailproofError(f"recipe.model.options {error}: correct or remove it") from None
    try:
        return timm.create_model(
            name,
            pretrained=pretrained is not None,
            pretrained_cfg_overlay=pretrained,
            num_classes=classes,
            in_chans=channels,
            **options,
        )
    # timm's models also assert conditions on their options, or divide by them.
    except (
        TypeError,
        ValueError,
        RuntimeError,
        OSError,
        AssertionError,
        ArithmeticError,
    ) as error:
        weights = " and these weights" if pretrained else ""
        raise TailproofError(
            f"recipe.model: timm cannot build '{name}' with {options or 'no options'}{weights} "
            f"({error}): correct recipe.model"
        ) from error


def checkpoint_activations(model: nn.Module, name: str) -> None:
    """Make a model recompute activations in the backward pass instead of storing them.

    Raises:
        TailproofError: timm's model `name` does not support it.
    """
    try:
        as_timm(model).set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise TailproofError(
            f"recipe.activation_checkpointing: '{name}' does not support it: remove it"
        ) from error


def count_parameters(model: nn.Module, *, trained: bool = False) -> int:
    """Return the number of parameters, or of those that are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)
