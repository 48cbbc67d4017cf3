"""A network of timm with parts that no plain network has: adapters, a cosine head, several views.

The names of the network's own weights stay. An expert with such parts is exported as
`tuned_network`, whose arguments name the network and the parts.
"""

from collections.abc import Iterator
from typing import Any

import timm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from tailproof.models.adapters import attach_adaptformers
from tailproof.models.backbones.resnet_cifar import CosineClassifier
from tailproof.models.network_parts import head_modules
from tailproof.runtime.errors import TailproofError

NAME = "tuned_network"
PARTS = ("adaptformer", "cosine", "test_views", "view_size")
VIEWS = ("flip", "five_crops", "ten_crops")
SCALE = 25.0
"""Scale of the logits of a cosine head (Shi et al. 2024)."""


class SeveralViews(nn.Module):
    """Answers with the mean logits of several views of an image, but in training of the image.

    A base class that `extend` puts before the class of a network.
    """

    test_views: str
    view_size: int

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, C] of images [N, channels, H, W]."""
        if self.training:
            return super().forward(images)
        views = views_of(images, self.test_views, self.view_size)
        total, count = super().forward(next(views)), 1
        for view in views:
            total, count = total + super().forward(view), count + 1
        return total / count


def views_of(images: Tensor, kind: str, size: int) -> Iterator[Tensor]:
    """Yield the views of images [N, channels, H, W].

    Args:
        images: the images.
        kind: ``flip`` (the image and its mirror image), ``five_crops`` (the centre and the corners,
            as torchvision's FiveCrop) or ``ten_crops`` (those and their mirror images).
        size: side of a crop in pixels.
    """
    crops = [images]
    if kind != "flip":
        height, width = images.shape[2:]
        bottom, right = height - size, width - size
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
        places = [(round(bottom / 2), round(right / 2)), *corners]
        crops = [images[:, :, top : top + size, left : left + size] for top, left in places]
    for crop in crops:
        yield crop
        if kind != "five_crops":
            yield crop.flip(3)


def extend(
    network: nn.Module,
    *,
    adaptformer: dict[str, Any] | None = None,
    cosine: bool = False,
    test_views: str | None = None,
    view_size: int | None = None,
) -> nn.Module:
    """Add parts to a network, which stays the same object.

    Args:
        network: a network of timm's registry.
        adaptformer: `dim` and `blocks` of its AdaptFormers; None if it has none, or already has.
        cosine: whether its head becomes a cosine classifier.
        test_views: the views whose mean it answers with.
        view_size: side of a view in pixels.

    Raises:
        ValueError: the network has no place for a part.
    """
    if adaptformer is not None:
        attach_adaptformers(network, **adaptformer)
    if cosine:
        heads = head_modules(network)
        layer = network.get_submodule(heads[0]) if len(heads) == 1 else None
        if not isinstance(layer, nn.Linear):
            raise ValueError("its head is not one dense layer")
        head = CosineClassifier(layer.in_features, layer.out_features, SCALE)
        network.set_submodule(heads[0], head.to(layer.weight.device))
    if test_views is not None:
        if test_views not in VIEWS:
            raise ValueError(f"it has no views of the kind {test_views!a:.80}")
        kind = type(network)
        network.__class__ = type(
            f"{kind.__name__}OfViews",
            (SeveralViews, kind),
            {"test_views": test_views, "view_size": view_size},
        )
    return network


def _build(
    backbone: str = "", options: dict[str, Any] | None = None, **arguments: Any
) -> nn.Module:
    """Build a network and its parts; `arguments` are those of both."""
    if not timm.is_model(backbone) or backbone == NAME:
        raise TailproofError(
            f"'{NAME}' is a network with adapters, a cosine head or several views, expected the "
            f"network that it was tuned from as its backbone, found {backbone!a:.80}: start from "
            "that network and its weights"
        )
    parts = {name: arguments.pop(name) for name in PARTS if name in arguments}
    network = timm.create_model(backbone, pretrained=False, **arguments, **options or {})
    return extend(network, **parts)


default_cfgs = generate_default_cfgs({NAME: {"num_classes": 1000, "input_size": (3, 224, 224)}})


@register_model
def tuned_network(pretrained: bool = False, **options: Any) -> nn.Module:
    """Build a network of timm with adapters, a cosine head or several views."""
    return build_model_with_cfg(_build, NAME, pretrained, **options)
