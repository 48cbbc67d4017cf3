"""The stage train."""

import tailproof.models  # noqa: F401 - lets timm be imported
from tailproof.training.launch import launch

__all__ = ["launch"]
