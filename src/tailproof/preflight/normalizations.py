"""What normalizes the images of each expert, and where the numbers come from."""

from pathlib import Path
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.loading import Split
from tailproof.training.preprocessing import normalization


def normalizations(manifest: str | Path, recipes: dict[str, Recipe]) -> dict[str, dict[str, Any]]:
    """Return `mean` and `std` per channel, None without normalization, and their `source`, by name.

    Raises:
        TailproofError: the weights of a recipe are for images of other channels.
    """
    split = Split(manifest, "train")
    return {name: _described(split, recipe) for name, recipe in recipes.items()}


def _described(split: Split, recipe: Recipe) -> dict[str, Any]:
    if recipe.normalize is False:
        return {"mean": None, "std": None, "source": "none: images are not normalized"}
    source = (
        "those of the pretrained weights" if recipe.as_backbone else "measured on the split train"
    )
    return {**normalization(split, recipe), "source": source}
