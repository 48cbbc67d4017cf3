"""The ResNets for small images of He et al. 2016 (section 4.2), in timm's registry.

Three stages of 16, 32 and 64 channels, 6n+2 layers, shortcuts without parameters (option A).
"""

import math
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from tailproof.models import onednn


class CosineClassifier(nn.Module):
    """scale · cos(x, w_c): logits bounded by the scale (Gidaris & Komodakis 2018, equation 3)."""

    def __init__(self, in_features: int, classes: int, scale: float = 30.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(classes, in_features))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of features [N, D]."""
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut that subsamples and pads with zero channels."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return features [N, channels, H/stride, W/stride]."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.padding:
            x = self._narrow(x)
        return F.relu(y.add_(x), inplace=True)  # batch norm's gradient needs its input, not y

    def _narrow(self, x: Tensor) -> Tensor:
        """Return x[:, :, ::stride, ::stride] between zero channels."""
        padding = (0, 0, self.padding, self.padding)
        if x.is_mkldnn:  # a convolution that picks single channels keeps the layout
            picks = F.pad(torch.eye(x.shape[1]), padding)
            return F.conv2d(x, picks[:, :, None, None], stride=self.stride)
        # A gradient of indexing would not stay channels_last.
        return F.pad(F.avg_pool2d(x, kernel_size=1, stride=self.stride), (0, 0, *padding))


class CifarResNet(nn.Module):
    """A ResNet of depth 6n+2 with timm's methods for features and heads.

    Args:
        depth: number of layers, 6n+2.
        num_classes: number of outputs.
        in_chans: number of channels of the images.
        classifier: ``linear`` or ``cosine``.
        scale: scale of the cosine classifier.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        in_chans: int = 3,
        classifier: str = "linear",
        scale: float = 30.0,
    ) -> None:
        super().__init__()
        if (depth - 2) % 6:
            raise ValueError(f"depth is {depth}, expected 6n+2, such as 20, 32 or 56")
        if classifier not in ("linear", "cosine"):
            raise ValueError(f"classifier is '{classifier}', expected 'linear' or 'cosine'")
        self.classifier_kind, self.scale = classifier, scale
        self.num_features = 64
        self.conv1 = nn.Conv2d(in_chans, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, channels = [], 16
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            for index in range((depth - 2) // 6):
                blocks.append(ResidualBlock(channels, width, stride if index == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        self.reset_classifier(num_classes)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return how the names of the weights tell stem and blocks apart, as for timm's models."""
        return {"stem": r"^(?:conv1|bn1)\.", "blocks": r"^blocks\.(\d+)"}

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one with `num_classes` outputs; 0 removes it."""
        self.num_classes = num_classes
        if num_classes == 0:
            self.classifier: nn.Module = nn.Identity()
        elif self.classifier_kind == "cosine":
            self.classifier = CosineClassifier(self.num_features, num_classes, self.scale)
        else:
            self.classifier = nn.Linear(self.num_features, num_classes)

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.classifier

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map [N, 64, H/4, W/4]."""
        if not (self.training and onednn.suits(x)):
            return self._features(x)
        with torch.autocast("cpu", enabled=False):  # oneDNN itself casts the weights
            features = self._features(x.bfloat16().to_mkldnn()).to_dense()
        return features + 0 * self._sum_of_norms()  # oneDNN's ReLU maps NaN to 0

    @torch.no_grad()
    def _sum_of_norms(self) -> Tensor:
        """Return a number that is not finite if a batch norm or its input is not."""
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        tensors = (x for n in norms for x in (n.running_mean, n.weight, n.bias))
        return torch.cat([x for x in tensors if x is not None]).sum()

    def _features(self, x: Tensor) -> Tensor:
        return self.blocks(F.relu(self.bn1(self.conv1(x)), inplace=True))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits [N, C], or with `pre_logits` the pooled features [N, 64]."""
        x = x.mean((2, 3))
        return x if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, C] of images [N, in_chans, H, W]."""
        return self.forward_head(self.forward_features(x))


def _config() -> dict:
    return {
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "first_conv": "conv1",
        "classifier": "classifier",
        "fixed_input_size": False,
    }


default_cfgs = generate_default_cfgs({f"cifar_resnet{depth}": _config() for depth in (20, 32, 56)})


def _create(depth: int, pretrained: bool, options: dict) -> CifarResNet:
    return build_model_with_cfg(
        CifarResNet, f"cifar_resnet{depth}", pretrained, depth=depth, **options
    )


@register_model
def cifar_resnet20(pretrained: bool = False, **options: Any) -> CifarResNet:
    """ResNet-20 for small images, 0.27 M parameters."""
    return _create(20, pretrained, options)


@register_model
def cifar_resnet32(pretrained: bool = False, **options: Any) -> CifarResNet:
    """ResNet-32 for small images, 0.46 M parameters."""
    return _create(32, pretrained, options)


@register_model
def cifar_resnet56(pretrained: bool = False, **options: Any) -> CifarResNet:
    """ResNet-56 for small images, 0.85 M parameters."""
    return _create(56, pretrained, options)
