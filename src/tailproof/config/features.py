"""The name of stored features: a digest of everything in the configuration that decides them."""

from collections.abc import Iterable, Mapping
from typing import Any

from tailproof.config.data import Data
from tailproof.config.recipe import Recipe
from tailproof.digests import digest_of

NOT_IN_SHARDS = {"near_duplicates", "positive_class", "max_bad_share", "seeds"}
"""Fields of the data section that do not decide what the shards contain."""


def features_key(data: Data, recipe: Recipe) -> str | None:
    """Return the name of the folder of the features that a recipe needs; None for a network.

    Experiments with the same key share the features. The content of the raw data and of the weights
    is not part of it: a change of it makes the features stale.
    """
    if recipe.features is None:
        return None
    facts = [*shard_fields(data), *_deciding(recipe)]
    return f"{recipe.model.weights_key}--{digest_of(facts)[:8]}"


def shard_fields(data: Data) -> list[Any]:
    """Return, as plain values, what of a data section decides what the six splits contain."""
    held_out = data.unknown is not None and data.unknown.classes
    left_out = NOT_IN_SHARDS if held_out else NOT_IN_SHARDS | {"unknown"}
    return [
        data.model_dump(mode="json", exclude=left_out),
        data.near_duplicates == "group",  # the other values do not change the splits
    ]


def recipes_of_features(data: Data, recipes: Iterable[Recipe]) -> dict[str, Recipe]:
    """Return a recipe that needs each of the features of an experiment, by key."""
    return {key: recipe for recipe in recipes if (key := features_key(data, recipe))}


def deciding_fields(data: Data, recipes: Iterable[Recipe]) -> dict[str, list[Any]]:
    """Return what of a recipe decides each of the features of an experiment, by key.

    A job that learns its recipe only when it runs finds its features with it; see `key_for`.
    """
    return {key: _deciding(recipe) for key, recipe in recipes_of_features(data, recipes).items()}


def key_for(recipe: Recipe, fields: Mapping[str, list[Any]]) -> str:
    """Return the key of the features that a recipe needs, among those of `deciding_fields`."""
    return next(key for key, deciding in fields.items() if deciding == _deciding(recipe))


def _deciding(recipe: Recipe) -> list[Any]:
    """Return, as plain values, what of a recipe decides its features."""
    return [
        recipe.model.model_dump(mode="json"),
        recipe.normalize_as,
        recipe.features and recipe.features.model_dump(mode="json"),
    ]
