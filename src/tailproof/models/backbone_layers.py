"""What a backbone says of images: the layers that can be stored as features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tailproof.models.timm_network import as_timm
from tailproof.runtime.errors import TailproofError


def layers_of(network: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the named layers of a network for a batch of images, [B, width] each.

    `penultimate` is what the network's classifier gets. `last` is the output of timm's
    `forward_features`: a map is averaged over its positions; of a sequence it is the class token,
    if there is one, and the average of the other tokens, one after the other.

    Args:
        network: a model of timm, with any classifier or none.
        images: normalized, [B, C, H, W].
        layers: names of layers.

    Raises:
        TailproofError: the network has no such layer.
    """
    last = as_timm(network).forward_features(images)
    computed = {}
    for name in layers:
        if name == "penultimate":
            computed[name] = as_timm(network).forward_head(last, pre_logits=True).flatten(1)
        else:
            computed[name] = _pooled(network, last)
    return computed


def _pooled(network: nn.Module, last: Tensor) -> Tensor:
    if not isinstance(last, Tensor) or last.ndim not in (3, 4):
        raise TailproofError(
            "recipe.features.layers: the network has no single feature map or sequence of tokens "
            "that 'last' could be: use penultimate"
        )
    if last.ndim == 4:
        channels_behind = last.shape[1] != network.num_features == last.shape[3]
        return last.mean((1, 2) if channels_behind else (2, 3))
    prefix = getattr(network, "num_prefix_tokens", 0)
    average = last[:, prefix:].mean(1)
    class_token = getattr(getattr(network, "embeds", network), "cls_token", None)
    without = not prefix or class_token is None  # register tokens alone are left out
    return average if without else torch.cat([last[:, 0], average], 1)
