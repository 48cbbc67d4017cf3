"""How images become inputs of the network: their size, normalization and interpolation."""

from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.loading import Split
from tailproof.loading.resizing import BICUBIC
from tailproof.models.initial_weights import backbone_facts
from tailproof.models.input_sizes import Size
from tailproof.models.preparation import data_config, interpolation_of, normalization_of
from tailproof.runtime.errors import TailproofError


def with_backbone_size(recipe: Recipe) -> Recipe:
    """Return the recipe with the image size of its weights, if it prepares images as they do.

    Raises:
        TailproofError: the weights have not been fetched.
    """
    if not recipe.as_backbone or recipe.image_size is not None:
        return recipe
    _, height, _ = backbone_facts(recipe.model)["input_size"]
    return recipe.model_copy(update={"image_size": height})


def sizes(split: Split, recipe: Recipe) -> list[Size]:
    """Return the height and width of all model inputs, those of evaluation first.

    A model that answers with the mean of crops accepts no image that is smaller than a crop.
    """
    if crops(recipe):
        return _pixels(split, [recipe.final_size])
    return _pixels(split, [recipe.final_size, *(phase.image_size for phase in recipe.timeline)])


def network_sizes(split: Split, recipe: Recipe) -> list[Size]:
    """Return the height and width of what the network itself sees: crops, if the model has them."""
    if not crops(recipe):
        return sizes(split, recipe)
    return _pixels(split, [phase.image_size for phase in reversed(recipe.timeline)])


def view_size(recipe: Recipe) -> int | None:
    """Return the side of a crop in pixels: that of the training images in the last phase."""
    return recipe.timeline[-1].image_size


def crops(recipe: Recipe) -> bool:
    """Return whether the model answers with the mean of crops.

    Raises:
        TailproofError: the images are not larger than the crops.
    """
    if recipe.test_views in (None, "flip"):
        return False
    if (recipe.final_size or 0) <= (view_size(recipe) or 0):
        raise TailproofError(
            f"recipe.test_views is {recipe.test_views}, which cuts crops of {view_size(recipe)} "
            f"pixels out of larger images, but recipe.eval_image_size is {recipe.final_size}: set "
            f"it to more than {view_size(recipe)}"
        )
    return True


def _pixels(split: Split, sides: list[int | None]) -> list[Size]:
    original = (split.manifest["height"], split.manifest["width"])
    return list(dict.fromkeys((side, side) if side else original for side in sides))


def preprocessing(split: Split, recipe: Recipe) -> dict[str, Any]:
    """Return the preprocessing as timm's data configuration; it is stored with the weights."""
    input_size = [split.channels, *sizes(split, recipe)[0]]
    return data_config(input_size, interpolation(recipe), normalization(split, recipe))


def interpolation(recipe: Recipe) -> str:
    """Return how images are resized: as for the weights, if that is known here, or bicubic."""
    return interpolation_of(backbone_facts(recipe.model)) if recipe.as_backbone else BICUBIC


def normalization(split: Split, recipe: Recipe) -> dict[str, list[float]]:
    """Return mean and std of each channel: of the weights, of train, or 0 and 1.

    A grey image has the average of the weights' channels.

    Raises:
        TailproofError: the weights are for other images than those of the split.
    """
    if recipe.normalize is False:
        return {"mean": [0.0] * split.channels, "std": [1.0] * split.channels}
    if not recipe.as_backbone:
        return split.manifest["normalization"]
    return normalization_of(backbone_facts(recipe.model), split.manifest["mode"], split.channels)
