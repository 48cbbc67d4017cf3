"""Measures the mean and standard deviation of each band on the split train, part by part."""

from typing import Any

import numpy as np

from tailproof.runtime.errors import TailproofError

LEVELS = np.arange(256)


class PixelSums:
    """Exact integer sums of 8-bit pixels and their squares by channel, equal in any order."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sum = np.zeros(channels, np.int64)
        self.squares = np.zeros(channels, np.int64)

    def add(self, image: np.ndarray) -> None:
        """Add an image, uint8 [H, W] or [H, W, C]."""
        if image.ndim == 2:
            image = np.repeat(image[:, :, None], len(self.sum), axis=2)
        flat = image.reshape(-1, len(self.sum))
        self.count += len(flat)
        for channel in range(len(self.sum)):
            histogram = np.bincount(flat[:, channel], minlength=256)
            self.sum[channel] += histogram @ LEVELS
            self.squares[channel] += histogram @ LEVELS**2

    def facts(self) -> dict[str, Any]:
        """Return the sums as plain values."""
        return {
            "count": self.count,
            "sum": self.sum.tolist(),
            "squares": self.squares.tolist(),
        }


class BandMoments:
    """Count, mean and summed squared deviation of float pixels by band.

    Moments are merged pairwise (Chan, Golub and LeVeque 1983, equation 2.1), so that a large
    common level does not cost precision.
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.deviation = np.zeros(bands)

    def add(self, image: np.ndarray) -> None:
        """Add an image, float32 [H, W, bands]."""
        flat = image.reshape(-1, len(self.mean)).astype(np.float64)
        mean = flat.mean(axis=0)
        self.merge(len(flat), mean, ((flat - mean) ** 2).sum(axis=0))

    def merge(self, count: int, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Merge the moments of other pixels."""
        total = self.count + count
        if not total:
            return
        away = np.asarray(mean) - self.mean
        self.deviation += np.asarray(deviation) + away**2 * (self.count * count / total)
        self.mean += away * (count / total)
        self.count = total

    def facts(self) -> dict[str, Any]:
        """Return the moments as plain values."""
        return {
            "count": self.count,
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
        }


def normalization(parts: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return mean and std by band from the facts of all parts.

    They are in [0, 1] for 8-bit pixels. For float pixels they are in the unit of the pixels, with
    ten significant digits.

    Raises:
        TailproofError: a band has the same value everywhere.
    """
    if "deviation" in parts[0]:
        moments = BandMoments(len(parts[0]["mean"]))
        for part in parts:
            moments.merge(part["count"], part["mean"], part["deviation"])
        flat = np.flatnonzero(~(moments.deviation > 0))
        if flat.size:
            raise TailproofError(
                f"band {flat[0]} has the same value in every image of the split train: remove "
                "this band"
            )
        std = np.sqrt(moments.deviation / moments.count)
        return {
            "mean": [float(f"{value:.10g}") for value in moments.mean],
            "std": [float(f"{value:.10g}") for value in std],
        }
    count = sum(part["count"] for part in parts)
    mean = np.sum([part["sum"] for part in parts], 0) / count
    variance = np.sum([part["squares"] for part in parts], 0) / count - mean**2
    flat = np.flatnonzero(~(variance > 0))
    if flat.size == len(variance):
        raise TailproofError(
            "all images of the split train are of one and the same colour: check the images"
        )
    if flat.size:
        colour = ("red", "green", "blue")[flat[0]]
        raise TailproofError(
            f"the channel {colour} has the same value in every pixel of the split train: check the "
            "images, or store them without it as arrays in parquet"
        )
    return {
        "mean": [round(float(value), 6) for value in mean / 255],
        "std": [round(float(value), 6) for value in np.sqrt(variance) / 255],
    }
