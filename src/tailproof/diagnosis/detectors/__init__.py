"""The built-in detectors: each module in this folder registers its own.

``from tailproof.diagnosis.detectors import *`` imports them all, and the code digest follows it.
"""

from pathlib import Path

__all__ = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))  # noqa: PLE0605
