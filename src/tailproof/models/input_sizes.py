"""Adapts models to image sizes and checks that they accept them."""

from typing import Any

import timm
import torch
from torch import nn

from tailproof.models.timm_network import published_cfg
from tailproof.runtime.errors import TailproofError

Size = tuple[int, int]


def options_for_sizes(name: str, options: dict[str, Any], sizes: list[Size]) -> dict[str, Any]:
    """Return the options of a model that must accept images of several sizes.

    Models with position embeddings are built for one size. If timm can resample the embeddings in
    each forward pass (`dynamic_img_size`), the model is built for the size used in inference and
    resamples for the others, so that the exported weights work without further options.

    Args:
        name: a model of timm's registry.
        options: the recipe's options, which take precedence.
        sizes: height and width of all images; the size used in inference is first.
    """
    if len(sizes) == 1 or not timm.is_model(name.split(".", maxsplit=1)[0]):
        return options
    if not published_cfg(name).fixed_input_size:
        return options
    height, width = sizes[0]
    resampled = {
        "img_size": height if height == width else [height, width],
        "dynamic_img_size": True,
    }
    try:
        with torch.device("meta"):
            timm.create_model(name, **resampled | options)
    except (TypeError, ValueError, RuntimeError, AssertionError):
        return options
    return resampled | options


def options_for_size(name: str, options: dict[str, Any], side: int | None) -> dict[str, Any]:
    """Return the options of a model for square images of one size.

    A model with position embeddings is built for that size, and timm resamples those of weights.

    Args:
        name: a model of timm's registry.
        options: the recipe's options, which take precedence.
        side: side of the images in pixels; None is their original size.
    """
    published = published_cfg(name)
    if side and published.fixed_input_size and published.input_size[1:] != (side, side):
        return {"img_size": side} | options
    return options


@torch.no_grad()
def check_sizes(model: nn.Module, name: str, channels: int, sizes: list[Size]) -> None:
    """Check with a forward pass that a model accepts images of each size.

    Raises:
        TailproofError: the model does not accept a size.
    """
    device = next(model.parameters()).device
    model.eval()
    for height, width in sizes:
        try:
            model(torch.zeros(1, channels, height, width, device=device))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise TailproofError(
                f"'{name}' does not accept images of {height}×{width} pixels ({error}): set "
                "another recipe.image_size (for stored features recipe.features.size), another "
                "model, or an img_size in recipe.model.options"
            ) from error
    model.train()
