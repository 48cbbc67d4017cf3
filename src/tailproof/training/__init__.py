"""The stage train."""

import tailproof.models  # noqa: F401 - lets timm be imported
from tailproof.training.launch import launch
from tailproof.training.train import train

__all__ = ["launch", "train"]
