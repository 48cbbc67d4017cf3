"""Small grey pictures, by which near duplicates are found."""

import cv2
import numpy as np

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
    grey = pixels.astype(np.float32)
    if grey.ndim == 3:
        weights = (0.299, 0.587, 0.114) if pixels.dtype == np.uint8 else None
        grey = grey @ np.float32(weights) if weights else grey.mean(axis=2)
    smaller = min(grey.shape) < SIDE
    grey = cv2.resize(
        grey, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR if smaller else cv2.INTER_AREA
    )
    grey = grey - grey.mean()
    full_scale = 255.0 if pixels.dtype == np.uint8 else max(float(np.ptp(pixels)), 1e-12)
    if grey.std() * 255.0 < FLAT * full_scale:
        return np.full((SIDE, SIDE), FLAT_VALUE, np.uint8)
    return np.round(128 + 127 * grey / np.abs(grey).max()).astype(np.uint8)
