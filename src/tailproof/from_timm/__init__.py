"""Translates a command of timm's train.py to an experiment: ``tailproof init --from-timm``."""

from tailproof.from_timm.translation import Translation, render, translate

__all__ = ["Translation", "render", "translate"]
