"""Models and the sizes of the images that they are to take."""

from typing import Any

import timm
import torch
from torch import nn

from tailproof.runtime.errors import TailproofError

Size = tuple[int, int]


def options_for_sizes(name: str, options: dict[str, Any], sizes: list[Size]) -> dict[str, Any]:
    """Return the options of a model that is to take images of several sizes.

    Models with position embeddings are made for one size. Where timm can resample them at every
    pass (`dynamic_img_size`), they are made for the size that is inferred on and resampled for the
    others, so that the weights that are exported need nothing else.

    Args:
        name: a model of timm's registry.
        options: of the recipe; they come first.
        sizes: height and width of all images, first of those that are inferred on.
    """
    if len(sizes) == 1 or not timm.is_model(name.split(".", maxsplit=1)[0]):
        return options
    if not timm.get_pretrained_cfg(name).fixed_input_size:
        return options
    height, width = sizes[0]
    wanted = {"img_size": height if height == width else [height, width], "dynamic_img_size": True}
    try:
        with torch.device("meta"):
            timm.create_model(name, **wanted | options)
    except (TypeError, ValueError, RuntimeError, AssertionError):
        return options
    return wanted | options


@torch.no_grad()
def check_sizes(model: nn.Module, name: str, channels: int, sizes: list[Size]) -> None:
    """Try whether a model takes images of each size.

    Raises:
        TailproofError: it does not.
    """
    device = next(model.parameters()).device
    model.eval()
    for height, width in sizes:
        try:
            model(torch.zeros(1, channels, height, width, device=device))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise TailproofError(
                f"'{name}' cannot take images of {height}×{width} pixels, which the recipe asks "
                f"for ({error}): choose another size, another model or, in recipe.model.options, "
                "an img_size that it is made for"
            ) from error
    model.train()
