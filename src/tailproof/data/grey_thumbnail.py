"""Small grey pictures, by which near duplicates are found."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from tailproof.data.tables import read_parquet

SIDE = 24
FLAT = 2.0
"""Pictures with a smaller standard deviation of grey values, of 255, have nothing to compare."""
FLAT_VALUE = 128


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return the thumbnail of a decoded image, uint8 [SIDE, SIDE]: contrast stretched, mean 128.

    A flat picture has the value 128 everywhere.

    Args:
        pixels: uint8 [H, W] or [H, W, 3], or float32 [H, W, bands].
    """
    picture = pixels.dtype == np.uint8
    full_scale = 255.0 if picture else max(float(np.ptp(pixels)), 1e-12)
    if min(pixels.shape[:2]) > 4 * SIDE and picture:
        pixels = cv2.resize(pixels, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_AREA)
    grey: np.ndarray = pixels.astype(np.float32, copy=False)
    if grey.ndim == 3:
        grey = grey @ np.array((0.299, 0.587, 0.114), np.float32) if picture else grey.mean(axis=2)
    smaller = min(grey.shape) < SIDE
    grey = cv2.resize(
        grey, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR if smaller else cv2.INTER_AREA
    )
    grey = grey - grey.mean()
    if not grey.std() * 255.0 >= FLAT * full_scale:
        return np.full((SIDE, SIDE), FLAT_VALUE, np.uint8)
    return np.round(FLAT_VALUE + 127 * grey / np.abs(grey).max()).astype(np.uint8)


def read_thumbnails(path: str | Path) -> tuple[pa.Array, np.ndarray]:
    """Return the ids of all samples, and their thumbnails, uint8 [N, SIDE, SIDE].

    Raises:
        TailproofError: the file is missing or damaged.
    """
    table = read_parquet(path, ["sample_id", "thumbnail"])
    thumbnails = np.empty((len(table), SIDE, SIDE), np.uint8)
    start = 0
    for chunk in table["thumbnail"].chunks:
        flat = np.frombuffer(chunk.buffers()[1], np.uint8)
        rows = flat[chunk.offset * SIDE * SIDE :][: len(chunk) * SIDE * SIDE]
        thumbnails[start : start + len(chunk)] = rows.reshape(-1, SIDE, SIDE)
        start += len(chunk)
    return table["sample_id"].combine_chunks(), thumbnails
