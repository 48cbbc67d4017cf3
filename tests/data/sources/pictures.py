"""Small pictures for the tests of sources."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tailproof.data.images import encode_png


def write_pictures(root: Path, paths: Iterable[str], height: int = 4, width: int = 6) -> None:
    """Write pictures of random pixels, each with its own."""
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        file.write_bytes(encode_png(pixels))
