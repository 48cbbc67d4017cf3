"""How images are prepared for pretrained weights, from the facts that the stage fetch stored."""

from typing import Any

from tailproof.data.multiband import MODE
from tailproof.loading.resizing import BICUBIC, FILTERS
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


def data_config(
    input_size: list[int], interpolation: str, normalization: dict[str, list[float]]
) -> dict[str, Any]:
    """Return timm's data configuration, which is stored with the weights.

    Args:
        input_size: channels, height and width.
        interpolation: how images are resized.
        normalization: `mean` and `std` of each channel.
    """
    return {
        "input_size": input_size,
        "interpolation": interpolation,
        "crop_pct": 1.0,
        "crop_mode": "center",
        **normalization,
    }


def interpolation_of(facts: dict[str, Any]) -> str:
    """Return how images are resized: as for the weights, if that is known here, or bicubic."""
    return facts["interpolation"] if facts["interpolation"] in FILTERS else BICUBIC


def normalization_of(facts: dict[str, Any], mode: str, channels: int) -> dict[str, list[float]]:
    """Return mean and std of each channel. A grey image has the average of the weights' channels.

    Args:
        facts: the facts about the weights.
        mode: mode of the images.
        channels: number of their channels.

    Raises:
        TailproofError: the weights are for other images.
    """
    mean, std = facts["mean"], facts["std"]
    if mode == MODE:
        raise TailproofError(
            "recipe.model.weights are for 8-bit pictures, but the images are arrays of "
            f"{quantity(channels, 'band')}: set 'normalize: true'"
        )
    if channels not in (1, len(mean)):
        raise TailproofError(
            f"recipe.model.weights are for images of {quantity(len(mean), 'channel')}, but the "
            f"images have {channels}: set 'normalize: true'"
        )
    if channels == 1:
        mean, std = [sum(mean) / len(mean)], [sum(std) / len(std)]
    return {"mean": mean, "std": std}
