"""Images that differ from the others: blank, dark, overexposed, blurred, of an odd size or shape.

Each image is reduced to a few numbers while the shards are read, so that memory holds no picture.
An image is odd if a number is beyond a limit. Most limits are a distance from the median of all
images, in robust standard deviations (1.4826 times the median absolute deviation), together with a
bound that no ordinary picture reaches. Half of the images may therefore be odd without moving the
limits, and a collection of night pictures is not full of dark ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 256  # larger images are shrunk before they are measured
TAIL = 0.001  # share of pixels that is ignored at each end of the range of grey
BLANK = 8.0  # levels of grey
DARK, BRIGHT = 40.0, 235.0  # levels of grey
EXPOSURE_SPREADS, BLUR_SPREADS, SIZE_SPREADS = 4.0, 3.5, 5.0
EXPOSURE_LEAST = 20.0  # least distance from the median, in levels of grey
AREA_FACTOR, ASPECT_FACTOR = 4.0, 2.0  # least factors between an odd image and the median
BLUR_FACTOR = 4.0  # least factor between the sharpness of a blurred image and the median
MAD_TO_SD = 1.4826  # of a normal distribution
TINY = 1e-9  # a sharpness of zero

KINDS = ("blank", "dark", "overexposed", "blurred", "small", "large", "elongated")
"""What makes an image odd; an image has the first kind that fits."""


class Summary(NamedTuple):
    """What is kept of an image.

    Attributes:
        height: in pixels.
        width: in pixels.
        spread: range of the levels of grey; of an array of bands, of its values.
        bright: level of grey that 95 % of the pixels do not exceed; NaN for an array of bands.
        dark: level of grey that 95 % of the pixels reach; NaN for an array of bands.
        sharpness: variance of the Laplacian over that of the levels; NaN for an array of bands.
    """

    height: int
    width: int
    spread: float
    bright: float = float("nan")
    dark: float = float("nan")
    sharpness: float = float("nan")


@dataclass(frozen=True)
class OddImage:
    """An odd image.

    Attributes:
        index: its position among the summaries.
        kind: one of `KINDS`.
        value: the number that makes it odd.
        limit: what the number is below, or above.
    """

    index: int
    kind: str
    value: float
    limit: float


@dataclass(frozen=True)
class Rule:
    """One kind of odd images.

    Attributes:
        kind: one of `KINDS`.
        limit: an image is odd if its number is below, or above.
        above: whether an odd image is above.
        values: the number of each image.
    """

    kind: str
    limit: float
    above: bool
    values: np.ndarray

    @property
    def odd(self) -> np.ndarray:
        """Whether each image is odd, boolean [N]."""
        return self.values > self.limit if self.above else self.values < self.limit


def summarise(image: np.ndarray) -> Summary:
    """Reduce a decoded image to the numbers that the rules need.

    Args:
        image: uint8 [H, W] or [H, W, 3], or float32 [H, W, bands].
    """
    height, width = image.shape[:2]
    if image.dtype != np.uint8:
        return Summary(height, width, float(np.ptp(image, axis=(0, 1)).max()))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    if max(height, width) > SIDE:
        factor = SIDE / max(height, width)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    shares = np.cumsum(np.bincount(grey.ravel(), minlength=256)) / grey.size
    low, dark, bright, high = np.searchsorted(shares, [TAIL, 0.05, 0.95, 1 - TAIL])
    variance = float(grey.var())
    laplacian = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    sharpness = laplacian / variance if variance else 0.0
    return Summary(height, width, float(high - low), float(bright), float(dark), sharpness)


def rules_of(summaries: np.ndarray) -> list[Rule]:
    """Return the rules, with the limits that follow from all images.

    Args:
        summaries: float [N, 6], the fields of `Summary`.
    """
    height, width, spread, bright, dark, sharpness = summaries.T
    rules = []
    if np.isfinite(bright).all():
        low, _ = _fences(bright, EXPOSURE_SPREADS, EXPOSURE_LEAST)
        _, high = _fences(dark, EXPOSURE_SPREADS, EXPOSURE_LEAST)
        rules += [
            Rule("blank", BLANK, False, spread),
            Rule("dark", min(DARK, low), False, bright),
            Rule("overexposed", max(BRIGHT, high), True, dark),
            Rule("blurred", _log_fences(sharpness, BLUR_SPREADS, BLUR_FACTOR)[0], False, sharpness),
        ]
    else:
        rules.append(Rule("blank", float(np.finfo(np.float32).tiny), False, spread))
    small, large = _log_fences(height * width, SIZE_SPREADS, AREA_FACTOR)
    aspect = np.maximum(height, width) / np.minimum(height, width)
    _, elongated = _log_fences(aspect, SIZE_SPREADS, ASPECT_FACTOR)
    return [
        *rules,
        Rule("small", small, False, height * width),
        Rule("large", large, True, height * width),
        Rule("elongated", elongated, True, aspect),
    ]


def odd_images(rules: Iterable[Rule]) -> list[OddImage]:
    """Return the odd images in the order of `KINDS`, the oddest of a kind first."""
    found: dict[int, None] = {}
    odd = []
    for rule in rules:
        new = [index for index in np.flatnonzero(rule.odd).tolist() if index not in found]
        found.update(dict.fromkeys(new))
        new.sort(key=lambda index: -rule.values[index] if rule.above else rule.values[index])
        odd += [OddImage(index, rule.kind, float(rule.values[index]), rule.limit) for index in new]
    return odd


def _fences(values: np.ndarray, spreads: float, least: float = 0.0) -> tuple[float, float]:
    """Return the median minus and plus some robust standard deviations, but at least `least`."""
    middle = float(np.median(values))
    deviation = MAD_TO_SD * float(np.median(np.abs(values - middle)))
    distance = max(spreads * deviation, least)
    return middle - distance, middle + distance


def _log_fences(values: np.ndarray, spreads: float, factor: float = 1.0) -> tuple[float, float]:
    """Return `_fences` on a log axis, at least a factor from the median."""
    low, high = _fences(np.log(np.maximum(values, TINY)), spreads, float(np.log(factor)))
    return float(np.exp(low)), float(np.exp(high))
