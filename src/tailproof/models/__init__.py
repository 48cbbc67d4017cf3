"""Models: timm's registry, with the CIFAR ResNets added to it."""

import tailproof.models.torchvision_stub  # noqa: F401 - before timm
from tailproof.models import resnet_cifar  # noqa: F401 - registers its models
from tailproof.models.build import build_model, load_expert, save_expert

__all__ = ["build_model", "load_expert", "save_expert"]
