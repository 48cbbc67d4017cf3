"""Cuts a box out of the pixels of a picture."""

import math
from typing import Any

import numpy as np

from tailproof.data.sources.base import Box
from tailproof.runtime.errors import TailproofError

FRACTIONS = (1, 1)
"""`Box.picture` of a box whose numbers are fractions of the picture."""
TURNED = 0.02
"""By what share width and height may be scaled differently: a resized picture has whole pixels."""
OUTSIDE = 1
"""Pixels by which a box may reach outside of its picture because of rounding."""
NOISE = 1e-6
"""Pixels that the computation with fractions adds or takes."""


def cut(image: np.ndarray, box: Box, margin: float) -> tuple[np.ndarray, bool]:
    """Return the pixels in a box, and whether the box reaches outside of the picture.

    The pixels are those that the box touches. What lies outside of the picture is cut off.

    Args:
        image: a picture, [H, W] or [H, W, C].
        box: the box.
        margin: what is added on each side, as a share of the box's width and height.

    Raises:
        TailproofError: the box is empty or outside of the picture, or belongs to another picture.
    """
    height, width = image.shape[:2]
    shown = f"its box [{', '.join(f'{value:g}' for value in box[:4])}]"
    scales = _scales(box, width, height, shown)
    sides = [
        (box.x * scales[0], (box.x + box.width) * scales[0], width),
        (box.y * scales[1], (box.y + box.height) * scales[1], height),
    ]
    outside = False
    for low, high, size in sides:
        if _pixels(low, high, size) == (0, 0):
            raise TailproofError(
                f"{shown} is outside the picture of {width} × {height} pixels, expected x, y, "
                f"width and height in {'fractions' if box.picture == FRACTIONS else 'pixels'}: "
                "correct or remove it"
            )
        outside |= low < -OUTSIDE or high > size + OUTSIDE
    (left, right), (top, bottom) = (
        _pixels(low - margin * (high - low), high + margin * (high - low), size)
        for low, high, size in sides
    )
    return image[top:bottom, left:right], outside


def four_numbers(value: Any) -> tuple[float, float, float, float]:
    """Return the numbers of a box in a JSON file; NaN for what is not one of four numbers."""
    x, y, width, height = value if isinstance(value, list) and len(value) == 4 else [None] * 4
    return float_or_nan(x), float_or_nan(y), float_or_nan(width), float_or_nan(height)


def float_or_nan(value: Any) -> float:
    """Return a number of a JSON file; NaN for anything else."""
    try:
        return float(value) if isinstance(value, float | int) else math.nan
    except OverflowError:  # an integer of more than 308 digits
        return math.nan


def _scales(box: Box, width: int, height: int, shown: str) -> tuple[float, float]:
    """Return the pixels per unit of the box, horizontally and vertically."""
    if not all(map(math.isfinite, box[:4])):
        raise TailproofError(f"{shown} is not four numbers: correct or remove it")
    if box.width <= 0 or box.height <= 0:
        raise TailproofError(
            f"{shown} has no area, expected x, y, width and height: correct or remove it"
        )
    if box.picture != FRACTIONS and max(box.width, box.height) <= 1:
        raise TailproofError(
            f"{shown} is not larger than one pixel; it may be in fractions, expected pixels: "
            "correct or remove it"
        )
    if box.picture is None:
        return 1, 1
    scales = width / box.picture[0], height / box.picture[1]
    if box.picture != FRACTIONS:
        share = min(scales) / max(scales)
        if share < 1 - TURNED - 1 / min(width, height):
            raise TailproofError(
                f"{shown} is for a picture of {box.picture[0]:g} × {box.picture[1]:g} pixels, but "
                f"the picture has {width} × {height}: it was cropped, or turned after the boxes "
                "were drawn; correct its size in the file or remove the box"
            )
    return scales


def _pixels(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the first pixel between two positions and the one after the last; (0, 0) if none."""
    first = max(math.floor(low + NOISE), 0)
    last = min(math.ceil(high - NOISE), size)
    return (first, last) if first < last else (0, 0)
