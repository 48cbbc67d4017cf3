"""Prepares a pretrained network for training a few of its weights, and for export."""

from typing import Any

from torch import nn

from tailproof.config.recipe import Recipe
from tailproof.models.adapters import add_adapters
from tailproof.models.backbones.tuned_network import NAME, extend
from tailproof.models.network_parts import backbone_parameters, parameters_of_stages
from tailproof.models.timm_network import as_timm
from tailproof.models.trained_weights import freeze, freeze_statistics
from tailproof.runtime.errors import TailproofError


def tune_network(
    network: nn.Module, recipe: Recipe, options: dict[str, Any], outputs: int, view_size: int | None
) -> dict[str, Any]:
    """Freeze what the recipe freezes, and add adapters, cosine head and views.

    Args:
        network: the network with its initial weights.
        recipe: the recipe.
        options: arguments that the network was built with.
        outputs: number of outputs.
        view_size: side of the training images in pixels, if it is known.

    Returns:
        The arguments that timm builds the exported network with.

    Raises:
        TailproofError: the network has no such stage, or no place for an adapter or the head.
    """
    tune, name = recipe.tune, recipe.model.name
    frozen: set[str] = set()
    if recipe.freeze is not None:
        frozen = parameters_of_stages(network, recipe.freeze)
    elif tune:
        frozen = set(backbone_parameters(network))
    freeze(network, frozen)
    parts: dict[str, Any] = {}
    if tune and tune.adapter:
        parts["adaptformer"] = add_adapters(network, name, tune, frozen, outputs)
    if tune and tune.head == "cosine":
        parts["cosine"] = True
        _extend(network, name, cosine=True)
    freeze_statistics(network, frozen)
    if recipe.test_views:
        views = {"test_views": recipe.test_views}
        parts |= views | ({} if recipe.test_views == "flip" else {"view_size": view_size})
        extend(network, test_views=recipe.test_views, view_size=view_size)
    parts = {part: value for part, value in parts.items() if value is not None}
    return _name_parts(network, options, parts) if parts else options


def _extend(network: nn.Module, name: str, **parts: Any) -> None:
    try:
        extend(network, **parts)
    except ValueError as error:
        raise TailproofError(
            f"recipe.tune.head is cosine, which does not fit '{name}' ({error}): choose linear"
        ) from error


def _name_parts(
    network: nn.Module, options: dict[str, Any], parts: dict[str, Any]
) -> dict[str, Any]:
    """Give the network its new architecture; return the arguments that timm builds it with."""
    network = as_timm(network)
    source = network.pretrained_cfg
    if source.get("fixed_input_size") and "img_size" not in options:
        options = options | {"img_size": list(source["input_size"][1:])}  # as timm builds it
    network.pretrained_cfg = {**source, "architecture": NAME, "fixed_input_size": False}
    return {"backbone": source["architecture"], "options": options, **parts}
