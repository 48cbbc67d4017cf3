"""Predictions of trained experts: the stage infer and the command `tailproof predict`."""

from tailproof.predict.infer import infer

__all__ = ["infer"]
