"""Backbones of timm and a head on their features, as one network in timm's registry.

Importing this module registers it. It is not one of `tailproof.models`, which every network that is
trained depends on: an edit of heads would make all of them stale.

A linear head on what a network's own classifier gets is that classifier, and needs none of this.
"""

from collections.abc import Callable
from typing import Any

import tailproof.models  # noqa: F401 - before timm

# isort: split
import timm
import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.features.concatenation import SHORTEST
from tailproof.features.head_layers import build_head
from tailproof.models.backbone_layers import layers_of

NAME, NAME_OF_SEVERAL = "backbone_with_head", "backbones_with_head"


class NetworkWithHead(nn.Module):
    """A network whose classifier is a head on its features.

    Attributes:
        head: the head.
    """

    head: nn.Module
    forward_features: Callable[..., Tensor]

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits [N, C] of features [N, D]; with `pre_logits` the features."""
        return x if pre_logits else self.head(x)

    def forward(self, *images: Tensor) -> Tensor:
        """Return logits [N, C] of images [N, in_chans, H, W] of each input."""
        return self.forward_head(self.forward_features(*images))


class BackboneWithHead(NetworkWithHead):
    """A backbone, whose layers one after the other are the features, and a head.

    Args:
        backbone: name of a model in timm's registry.
        layers: the layers; see `tailproof.models.backbone_layers`.
        head: a key of `tailproof.features.head_layers.HEADS`.
        width: number of features.
        backbone_options: further arguments of the backbone.
        head_options: further arguments of the head.
        num_classes: number of outputs.
        in_chans: number of channels of the images.

    Raises:
        ValueError: there is no such backbone or head.
    """

    def __init__(
        self,
        backbone: str,
        layers: list[str],
        head: str,
        width: int,
        backbone_options: dict[str, Any] | None = None,
        head_options: dict[str, Any] | None = None,
        num_classes: int = 10,
        in_chans: int = 3,
    ) -> None:
        super().__init__()
        self.backbone = _without_head(backbone, in_chans, backbone_options)
        self.layers, self.num_classes, self.num_features = layers, num_classes, width
        self.head = build_head(head, width, num_classes, head_options)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features [N, D] of images [N, in_chans, H, W]."""
        return torch.cat(list(layers_of(self.backbone, x, self.layers).values()), 1)


class BackbonesWithHead(NetworkWithHead):
    """Several backbones, whose features next to each other are those of a head.

    It takes each image several times, once as each backbone wants it.

    Args:
        backbones: of each backbone the ``name`` of a model in timm's registry, its ``layers``, and
            ``options``, further arguments.
        head: a key of `tailproof.features.head_layers.HEADS`.
        width: number of features of all backbones together.
        head_options: further arguments of the head.
        num_classes: number of outputs.
        in_chans: number of channels of the images.

    Raises:
        ValueError: there is no such backbone or head.
    """

    def __init__(
        self,
        backbones: list[dict[str, Any]],
        head: str,
        width: int,
        head_options: dict[str, Any] | None = None,
        num_classes: int = 10,
        in_chans: int = 3,
    ) -> None:
        super().__init__()
        self.backbones = nn.ModuleList(
            _without_head(one["name"], in_chans, one.get("options")) for one in backbones
        )
        self.layers = [one["layers"] for one in backbones]
        self.num_classes, self.num_features = num_classes, width
        self.head = build_head(head, width, num_classes, head_options)

    def forward_features(self, *images: Tensor) -> Tensor:
        """Return the features [N, D]; those of each backbone have length 1.

        Args:
            images: [N, in_chans, H, W] for each backbone.

        Raises:
            ValueError: it is another number of them.
        """
        computed = []
        for backbone, layers, own in zip(self.backbones, self.layers, images, strict=True):
            features = torch.cat(list(layers_of(backbone, own, layers).values()), 1)
            computed.append(F.normalize(features, dim=1, eps=SHORTEST))
        return torch.cat(computed, 1)


def _without_head(name: Any, channels: int, options: dict[str, Any] | None) -> nn.Module:
    if name in (NAME, NAME_OF_SEVERAL) or not isinstance(name, str) or not timm.is_model(name):
        raise ValueError(f"the backbone is {name!a:.80}, expected a model of timm")
    return timm.create_model(name, num_classes=0, in_chans=channels, **(options or {}))


_CONFIG = {
    "num_classes": 10,
    "input_size": (3, 224, 224),
    "first_conv": None,
    "classifier": "head",
    "fixed_input_size": False,
}

default_cfgs = generate_default_cfgs({NAME: _CONFIG, NAME_OF_SEVERAL: _CONFIG})


@register_model
def backbone_with_head(pretrained: bool = False, **options: Any) -> BackboneWithHead:
    """Build a network of a backbone and a head on its features."""
    return build_model_with_cfg(BackboneWithHead, NAME, pretrained, **options)


@register_model
def backbones_with_head(pretrained: bool = False, **options: Any) -> BackbonesWithHead:
    """Build a network of several backbones and a head on their features."""
    return build_model_with_cfg(BackbonesWithHead, NAME_OF_SEVERAL, pretrained, **options)
