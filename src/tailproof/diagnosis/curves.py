"""Curves, and their noise between epochs, which every effect is compared with."""

from dataclasses import dataclass

import numpy as np

from tailproof.diagnosis.column_aliases import RATES
from tailproof.history import best_index
from tailproof.monitors import direction

FEW = 6
"""Below this many values the noise estimate is too uncertain and has a floor."""
LONG = 20
"""From this many values on, noise that lasts for some epochs can be distinguished from a trend."""
MOST_SAMPLES = 5000
"""The steps of an accuracy over more samples are not recognized."""
_TO_SD = 1.4826  # of the median absolute deviation, for a normal distribution


def noise_of(values: np.ndarray, lag: int = 1) -> float:
    """Return the robust standard deviation of a series around its local trend.

    The residual of a value is its difference from the mean of its neighbours: a straight trend has
    none, and its variance is 6/4 of the noise's. The estimate is the median absolute deviation of
    the residuals, so steps and single spikes hardly change it.

    Args:
        values: N finite numbers in order.
        lag: distance of the neighbours; a larger one measures noise that lasts for some epochs.

    Returns:
        0 for fewer than 1 + 2 lag values.
    """
    if len(values) < 1 + 2 * lag:
        return 0.0
    residuals = values[lag:-lag] - (values[: -2 * lag] + values[2 * lag :]) / 2
    return float(_TO_SD * np.median(np.abs(residuals)) / np.sqrt(1.5))


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Return moving means over `window` (odd) values, over fewer at the ends."""
    half = window // 2
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def samples_behind(shares: np.ndarray) -> int | None:
    """Return the smallest number of samples that all shares can be counted on.

    Shares of 12 samples are multiples of 1/12. Rounded shares are multiples within their rounding.

    Args:
        shares: N numbers from 0 to 1.

    Returns:
        None where there are fewer than two different shares, or where no number up to
        `MOST_SAMPLES` fits within the digits of the shares.
    """
    distinct = np.unique(shares)
    if len(distinct) < 2:
        return None
    digits = max(len(f"{share:.9g}".partition(".")[2]) for share in distinct)
    counts = np.arange(2, min(MOST_SAMPLES, 10**digits // 20 + 2))
    for share in distinct:
        off = np.abs(counts * share - np.round(counts * share))
        counts = counts[off <= 0.6 * 10.0**-digits * counts + 1e-6]
    return int(counts[0]) if len(counts) else None


def error_of_level(level: float, noise: float, epochs: int, samples: int | None) -> float:
    """Return the standard error of the mean of a rate over epochs.

    Args:
        level: the mean.
        noise: standard deviation between epochs.
        epochs: number of epochs in the mean.
        samples: number of samples that each value is counted on; None if unknown. All epochs are
            measured on the same samples, so their part does not become smaller with more epochs.
    """
    counted = 0.0
    if samples:
        share = (min(max(level, 0.0), 1.0) * samples + 1) / (samples + 2)
        counted = np.sqrt(share * (1 - share) / samples)
    return float(np.hypot(noise / np.sqrt(epochs), counted))


@dataclass(frozen=True)
class Curve:
    """The finite values of one column.

    Attributes:
        name: the column.
        epochs: N integers, numbered as in the history.
        values: N numbers.
    """

    name: str
    epochs: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def sign(self) -> float:
        """1 where higher values are better, else -1."""
        return direction(self.name)

    @property
    def window(self) -> int:
        """The number of epochs that a level averages: 1 in short runs, 7 from 29 epochs on."""
        return 1 + 2 * min(3, (len(self) + 1) // 10)

    @property
    def smooth(self) -> np.ndarray:
        """The curve's level at each epoch."""
        return smoothed(self.values, self.window)

    @property
    def noise(self) -> float:
        """Standard deviation between epochs, with a floor for short and rounded series."""
        sizes = np.abs(self.values) if len(self) else np.zeros(1)
        level = float(np.median(sizes) or sizes.mean())
        rate = bool(RATES.search(self.name))
        least = 5e-4 if rate else 2e-3 * level
        if len(self) < FEW:
            least = 0.01 if rate else 0.02 * level
        lasting = noise_of(self.values, lag=3) if len(self) >= LONG else 0.0
        return max(noise_of(self.values), lasting, least)

    @property
    def turns(self) -> list[int]:
        """The epochs whose value differs from that of the previous epoch."""
        return [int(epoch) for epoch in self.epochs[1:][np.diff(self.values) != 0]]

    @property
    def tail(self) -> float:
        """The level of the last epochs."""
        return float(self.values[-self.window :].mean())

    @property
    def best(self) -> int:
        """Index of the best single value, the first one if several are equal."""
        index = best_index(self.values, self.sign)
        assert index is not None  # the curve has finite values
        return index

    @property
    def best_level(self) -> float:
        """The best level of a full window, so that a single lucky epoch does not count."""
        half = self.window // 2
        whole = self.smooth[half : len(self) - half]
        return float(self.sign * np.max(self.sign * whole))

    @property
    def lost(self) -> float:
        """How much worse the last level is than the best one."""
        return float(max(self.sign * (self.best_level - self.tail), 0.0))

    @property
    def lost_in_noise(self) -> float:
        """`lost` in standard deviations of the difference of two levels."""
        return self.lost / (self.noise * np.sqrt(2 / self.window))

    def deteriorates(self, least: float, times: float = 4.0) -> bool:
        """Return whether the end is worse than the best level by more than noise and `least`."""
        return self.lost > least and self.lost_in_noise > times

    def since(self, epoch: int) -> "Curve":
        """Return the curve from an epoch on."""
        keep = self.epochs >= epoch
        return Curve(self.name, self.epochs[keep], self.values[keep])

    def at(self, epoch: int) -> float | None:
        """Return the level at an epoch, or at the last one before it; None if there is none."""
        before = np.flatnonzero(self.epochs <= epoch)
        return float(self.smooth[before[-1]]) if len(before) else None


def trend(curve: Curve) -> tuple[float, float]:
    """Return the change of a least-squares line over the curve, and the same in standard errors.

    Both are 0 for fewer than 4 values.
    """
    if len(curve) < 4:
        return 0.0, 0.0
    x = curve.epochs - curve.epochs.mean()
    slope = float((x * curve.values).sum() / (x**2).sum())
    residual = curve.values - curve.values.mean() - slope * x
    sd = float(np.sqrt((residual**2).sum() / (len(curve) - 2)))
    error = max(sd, curve.noise / 4) / np.sqrt(float((x**2).sum()))
    return slope * float(np.ptp(curve.epochs)), slope / error if error else 0.0
