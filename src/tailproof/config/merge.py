"""Merges the changes of an expert or a sweep point into a recipe, section by section."""

from typing import Any

from tailproof.config.head import HEAD_DEFAULTS
from tailproof.config.recipe import ONLY_FOR_NETWORKS, Recipe

_NOT_INHERITED = {
    *HEAD_DEFAULTS,
    *ONLY_FOR_NETWORKS,
    "schedule",
    "phases",
    "mixing",
    "precision",
    "validate_every",
    "early_stopping",
    "devices",
    "nodes",
}
"""How a recipe trains: what a head does not take from the recipe of a network, nor the reverse."""


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` merged into it, section by section.

    A section that selects another variant (another ``name`` or ``kind``) replaces the whole section
    of the base.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _other_variant(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def merged_recipe(recipe: dict[str, Any], changes: Any) -> Any:
    """Return an expert's recipe; a value that is not a mapping is left for the model to reject.

    A head does not inherit from the recipe of a network how to train, nor a network from that of a
    head. It inherits the rest: the model, the loss, the sampler, the monitor.
    """
    if changes is None:
        return recipe
    if not isinstance(changes, dict):
        return changes
    features = recipe.get("features")
    if (features is None) != (changes.get("features", features) is None):
        recipe = {key: value for key, value in recipe.items() if key not in _NOT_INHERITED}
    return with_names(merge(recipe, changes))


def with_names(recipe: dict[str, Any]) -> dict[str, Any]:
    """Add the default variant to sections that omit it, so that naming it is not a change."""
    names = _NAMES if recipe.get("features") is None else _NAMES_OF_HEADS
    return {
        key: {"name": names[key], **section}
        if key in names and isinstance(section, dict)
        else section
        for key, section in recipe.items()
    }


def _other_variant(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return any(key in new and new[key] != old.get(key) for key in ("name", "kind"))


_NAMES = {
    key: section["name"]
    for key, section in Recipe().model_dump().items()
    if isinstance(section, dict) and "name" in section
}
_NAMES_OF_HEADS = _NAMES | {"optimizer": HEAD_DEFAULTS["optimizer"]["name"]}
