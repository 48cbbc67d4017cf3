"""A backbone of timm and a head on its features, as one network in timm's registry.

Importing this module registers it. It is not one of `tailproof.models`, which every network that is
trained depends on: an edit of heads would make all of them stale.

A linear head on what a network's own classifier gets is that classifier, and needs none of this.
"""

from typing import Any

import tailproof.models  # noqa: F401 - before timm

# isort: split
import timm
import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from tailproof.features.head_layers import build_head
from tailproof.models.backbone_layers import layers_of

NAME = "backbone_with_head"


class BackboneWithHead(nn.Module):
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
        if backbone == NAME or not timm.is_model(backbone):
            raise ValueError(f"the backbone is {backbone!a:.80}, expected a model of timm")
        self.backbone = timm.create_model(
            backbone, num_classes=0, in_chans=in_chans, **(backbone_options or {})
        )
        self.layers, self.num_classes, self.num_features = layers, num_classes, width
        self.head = build_head(head, width, num_classes, head_options)

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features [N, D] of images [N, in_chans, H, W]."""
        return torch.cat(list(layers_of(self.backbone, x, self.layers).values()), 1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits [N, C] of features [N, D]; with `pre_logits` the features."""
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of images [N, in_chans, H, W]."""
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        NAME: {
            "num_classes": 10,
            "input_size": (3, 224, 224),
            "first_conv": None,
            "classifier": "head",
            "fixed_input_size": False,
        }
    }
)


@register_model
def backbone_with_head(pretrained: bool = False, **options: Any) -> BackboneWithHead:
    """Build a network of a backbone and a head on its features."""
    return build_model_with_cfg(BackboneWithHead, NAME, pretrained, **options)
