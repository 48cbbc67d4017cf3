"""Models: timm's registry, with CIFAR ResNets and scan-line transformers added."""

from tailproof.runtime.process import gc_paused
from tailproof.torchvision_stub import compiler_unloaded  # before timm

with gc_paused(), compiler_unloaded():
    from tailproof.models.backbones import *  # noqa: F403 - they register models
    from tailproof.models.build import build_model
    from tailproof.models.expert_weights import load_expert, save_expert

__all__ = ["build_model", "load_expert", "save_expert"]
