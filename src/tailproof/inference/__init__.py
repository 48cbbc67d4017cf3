"""The stage infer."""

from tailproof.inference.infer import infer

__all__ = ["infer"]
