"""The stage train."""

import tailproof.models  # noqa: F401 - lets timm be imported
from tailproof.training.train import train

__all__ = ["train"]
