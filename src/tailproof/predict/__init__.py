"""The stage infer."""

from tailproof.predict.infer import infer

__all__ = ["infer"]
