"""The name of stored features: a digest of everything in the configuration that decides them."""

from collections.abc import Iterable, Mapping
from typing import Any

from tailproof.config.data import Data
from tailproof.config.frozen_backbone import FrozenBackbone
from tailproof.config.recipe import Recipe
from tailproof.digests import digest_of

NOT_IN_SHARDS = {"near_duplicates", "positive_class", "max_bad_share", "seeds"}
"""Fields of the data section that do not decide what the shards contain."""


def features_key(data: Data, backbone: FrozenBackbone) -> str:
    """Return the name of the folder of the features of a backbone.

    Experiments with the same key share the features. The content of the raw data and of the weights
    is not part of it: a change of it makes the features stale.
    """
    facts = [*shard_fields(data), *_deciding(backbone)]
    return f"{backbone.model.weights_key}--{digest_of(facts)[:8]}"


def shard_fields(data: Data) -> list[Any]:
    """Return, as plain values, what of a data section decides what the six splits contain."""
    held_out = data.unknown is not None and data.unknown.classes
    left_out = NOT_IN_SHARDS if held_out else NOT_IN_SHARDS | {"unknown"}
    return [
        data.model_dump(mode="json", exclude=left_out),
        data.near_duplicates == "group",  # the other values do not change the splits
    ]


def backbones_by_key(data: Data, recipes: Iterable[Recipe]) -> dict[str, FrozenBackbone]:
    """Return the backbones whose features an experiment needs, by key."""
    backbones = [backbone for recipe in recipes for backbone in recipe.backbones]
    return {features_key(data, backbone): backbone for backbone in backbones}


def deciding_fields(data: Data, recipes: Iterable[Recipe]) -> dict[str, list[Any]]:
    """Return what decides each of the features of an experiment, as plain values, by key.

    A job that learns its recipe only when it runs finds its features with it; see `keys_for`.
    """
    return {key: _deciding(backbone) for key, backbone in backbones_by_key(data, recipes).items()}


def keys_for(recipe: Recipe, fields: Mapping[str, list[Any]]) -> list[str]:
    """Return the keys of the features of a recipe's backbones, among those of `deciding_fields`."""
    return [
        next(key for key, deciding in fields.items() if deciding == _deciding(backbone))
        for backbone in recipe.backbones
    ]


def _deciding(backbone: FrozenBackbone) -> list[Any]:
    """Return, as plain values, what decides the features of a backbone."""
    return [
        backbone.model.model_dump(mode="json"),
        backbone.normalize,
        backbone.features.model_dump(mode="json"),
    ]
