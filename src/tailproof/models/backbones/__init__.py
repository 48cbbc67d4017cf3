"""Networks that timm does not have: each module here registers its models with timm.

A new module is found by itself: ``from tailproof.models.backbones import *`` imports them all.
"""

from pathlib import Path

__all__ = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))  # noqa: PLE0605
