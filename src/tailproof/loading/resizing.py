"""Resizes an image to a square: the shorter side to its side, then the centre is cropped.

Pillow resizes whole images. Of a long and narrow image, such as a banner or a strip of a scan, only
the centre is resized, with Pillow's own arithmetic: the pixels are the same.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

NARROW = 4  # an image is narrow above this ratio of its sides; Pillow's order is known above 2
LONGEST = 100  # ratio of the sides of an image that transforms see
LARGE = 2**25  # pixels of an image that is resized in strips, for Pillow needs another copy
STRIP = 2**20  # pixels of a strip
PRECISION_BITS = 22  # of Pillow's weights for 8-bit pixels
BICUBIC, BILINEAR = "bicubic", "bilinear"


def fit(image: np.ndarray, size: int | None, interpolation: str = BICUBIC) -> np.ndarray:
    """Resize the shorter side to `size` and crop the centre, [size, size, C].

    The result is that of timm's evaluation transform with crop_pct 1.

    Args:
        image: [H, W, C].
        size: side of the result; None keeps the image as it is.
        interpolation: ``bicubic`` or ``bilinear``.
    """
    height, width = image.shape[:2]
    if size is None or (height == size and width == size):
        return image
    scale = size / min(height, width)
    new = max(size, int(height * scale)), max(size, int(width * scale))
    top, left = round((new[0] - size) / 2), round((new[1] - size) / 2)
    if max(new) > NARROW * size:
        return _centre(image, new, (top, left), size, FILTERS[interpolation])
    return _resized(image, new, FILTERS[interpolation])[top : top + size, left : left + size]


def shorten(image: np.ndarray) -> np.ndarray:
    """Return the middle of an image whose sides differ by more than a factor of `LONGEST`.

    Otherwise a transform that resizes the shorter side would need gigabytes for one line of pixels.
    """
    height, width = image.shape[:2]
    rows, columns = min(height, LONGEST * width), min(width, LONGEST * height)
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]


class _Filter(NamedTuple):
    """An interpolation: Pillow's, and its weight by distance in pixels, 0 beyond `support`."""

    resampling: Image.Resampling
    support: float
    weight: Callable[[np.ndarray], np.ndarray]


def _bicubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - np.abs(x), 0.0)


FILTERS = {
    BICUBIC: _Filter(Image.Resampling.BICUBIC, 2.0, _bicubic),
    BILINEAR: _Filter(Image.Resampling.BILINEAR, 1.0, _bilinear),
}


def _resized(
    image: np.ndarray, new: tuple[int, int], kernel: _Filter = FILTERS[BICUBIC]
) -> np.ndarray:
    """Return the whole image [H, W, C] at a new height and width."""
    if image.dtype == np.uint8:
        picture = image if image.shape[2] == 3 else image[:, :, 0]
        return _resized_picture(picture, new, kernel).reshape(*new, -1)
    bands = np.moveaxis(image, 2, 0)
    return np.stack([_resized_picture(band, new, kernel) for band in bands], axis=2)


def _resized_picture(picture: np.ndarray, new: tuple[int, int], kernel: _Filter) -> np.ndarray:
    height, width = picture.shape[:2]
    if height * width > LARGE:
        if height > 2 * width and height > new[0] and _pillow_may_begin_with_height():
            columns = _strips_resized(picture.swapaxes(0, 1), new[0], kernel)
            picture = columns.swapaxes(0, 1)
        else:
            picture = _strips_resized(picture, new[1], kernel)
    return _by_pillow(picture, new, kernel)


def _strips_resized(picture: np.ndarray, length: int, kernel: _Filter) -> np.ndarray:
    """Return a picture with the second side at a new length, resized in strips."""
    step = max(1, STRIP // picture.shape[1])
    starts = range(0, len(picture), step)
    strips = (picture[start : start + step] for start in starts)
    return np.concatenate([_by_pillow(strip, (len(strip), length), kernel) for strip in strips])


def _by_pillow(
    picture: np.ndarray, new: tuple[int, int], kernel: _Filter = FILTERS[BICUBIC]
) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize(new[::-1], kernel.resampling))


def _centre(
    image: np.ndarray, new: tuple[int, int], start: tuple[int, int], size: int, kernel: _Filter
) -> np.ndarray:
    """Return the square at `start` of the image at a new height and width.

    Pillow resizes the shorter side, and the longer one is resized before or after as in Pillow.
    """
    height, width = image.shape[:2]
    longer = int(width > height)
    first, weights = _weights(image.shape[longer], new[longer], start[longer], size, kernel)
    if longer == 1 or (height > new[0] and _pillow_may_begin_with_height()):
        return _resized(_apply(image, longer, first, weights), (size, size), kernel)
    top, bottom = first[0], min(height, first[-1] + weights.shape[1])
    rows = _resized(np.ascontiguousarray(image[top:bottom]), (bottom - top, size), kernel)
    return _apply(rows, 0, first - top, weights)


@cache
def _pillow_may_begin_with_height() -> bool:
    """Return whether Pillow resizes the height first if it shrinks much more than the width.

    Pillow 13 does, for more than twice as many pixels. Pillow 11 always resizes the width first.
    """
    tall = (np.arange(60) ** 2 % 251).astype(np.uint8).reshape(20, 3)
    width_first = _by_pillow(_by_pillow(tall, (20, 2)), (4, 2))
    return not np.array_equal(_by_pillow(tall, (4, 2)), width_first)


def _weights(
    old: int, new: int, start: int, count: int, kernel: _Filter
) -> tuple[np.ndarray, np.ndarray]:
    """Return how Pillow resizes a side from `old` to `new`, for `count` of the new pixels.

    Returns:
        The first old pixel of each new one, int [count], and the weights of the old pixels from
        there on, float64 [count, taps].
    """
    scale = old / new
    stretch = max(scale, 1.0)
    support = kernel.support * stretch
    centre = (np.arange(start, start + count) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(int), 0)
    end = np.minimum((centre + support + 0.5).astype(int), old)
    tap = np.arange(math.ceil(support) * 2 + 1)
    weights = kernel.weight((tap + first[:, None] - centre[:, None] + 0.5) * (1.0 / stretch))
    weights[tap >= (end - first)[:, None]] = 0.0
    return first, weights / np.cumsum(weights, axis=1)[:, -1:]


def _apply(image: np.ndarray, axis: int, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Resize one axis of an image [H, W, C], summing over the old pixels in Pillow's order."""
    whole = image.dtype == np.uint8
    if whole:
        weights = np.trunc(weights * 2**PRECISION_BITS + np.copysign(0.5, weights)).astype(np.int32)
    shape = [1, 1, 1]
    shape[axis] = len(first)
    total: Any = 2 ** (PRECISION_BITS - 1) if whole else 0.0  # then an array
    for tap, weight in enumerate(weights.T):
        pixels = np.take(image, np.minimum(first + tap, image.shape[axis] - 1), axis)
        total = total + pixels * weight.reshape(shape)
    if whole:
        return (total >> PRECISION_BITS).clip(0, 255).astype(np.uint8)
    return total.astype(np.float32)
