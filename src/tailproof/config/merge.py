"""Laying changes over a recipe, section by section."""

from typing import Any

from tailproof.config.recipe import Recipe


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, section by section.

    A section that names another variant (another ``name`` or ``kind``) replaces the base's whole.
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
    """Return an expert's recipe; what is no mapping is left for the model to refuse."""
    if changes is None:
        return recipe
    return with_names(merge(recipe, changes)) if isinstance(changes, dict) else changes


def with_names(recipe: dict[str, Any]) -> dict[str, Any]:
    """Write out the variant where a section leaves it to the default: to name it is no change."""
    return {
        key: {"name": _NAMES[key], **section}
        if key in _NAMES and isinstance(section, dict)
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
