"""The most probable temperature, drawn towards 1 where samples are few."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from tailproof.calibration.calibration_file import HIGHEST, LOWEST
from tailproof.data.logits import BLOCK

SPREAD = 0.15
"""Standard deviation of the prior of the inverse temperature, whose mean is 1.

For 42 samples it decides, for 1,000 it hardly matters. `benchmarks/calibration.py` measures it.
"""


class Fit(NamedTuple):
    """A fitted temperature, with warnings for the user."""

    temperature: float
    warnings: list[str]


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, spread: float = SPREAD
) -> Fit:
    """Return the T in [0.05, 20] that minimises Σ w_i · −log softmax(z_i / T)[y_i] + prior.

    With the inverse temperature b = 1/T, prior = (b − 1)² / (2 · spread²) is that of a normal
    distribution around 'no change'. The sum is convex in b (a log-sum-exp of functions linear in
    b, minus a linear one) and the prior strictly so: there is one minimum, and Brent's method finds
    the root of the derivative. Without the prior it is the T of Guo et al. 2017, section 4.2.

    If all samples are correct, the samples do not say how often the network is wrong: T stays 1.
    So it does if the logits are constant. Both cases, and a minimum outside the bounds, add a
    warning.

    Args:
        logits: [N, C]; used in double precision, block by block.
        labels: N class indices.
        weights: N weights, whose sum is the effective number of samples.
        spread: standard deviation of the prior; infinity for none.
    """
    step = max(1, BLOCK // logits.shape[1])
    parts = [slice(start, start + step) for start in range(0, len(labels), step)]
    truth = np.concatenate(
        [centred(logits[rows])[np.arange(len(labels[rows])), labels[rows]] for rows in parts]
    )

    def slope(inverse: float) -> float:
        total = 0.0
        for rows in parts:
            block = centred(logits[rows])
            expected = (softmax(block * inverse, axis=1) * block).sum(axis=1)
            total += float(weights[rows] @ (expected - truth[rows]))
        return total + (inverse - 1) / spread**2

    low, high = 1 / HIGHEST, 1 / LOWEST
    if not any(centred(logits[rows]).any() for rows in parts):
        return Fit(1.0, ["the logits of every sample are constant: the temperature stays 1"])
    if (truth >= 0).all():
        return Fit(
            1.0,
            [
                "the network classifies all samples of the fit correctly, so they do not show "
                "how often it is wrong: the temperature stays 1; raise data.splits.calib"
            ],
        )
    if slope(high) <= 0:
        return Fit(
            LOWEST,
            [
                f"the likelihood still rises at the lowest temperature {LOWEST}: the network is "
                "right far more often than the size of its logits suggests"
            ],
        )
    if slope(low) >= 0:
        return Fit(
            HIGHEST,
            [
                f"the likelihood still rises at the highest temperature {HIGHEST}: on the samples "
                "of the fit, the logits say almost nothing about the class"
            ],
        )
    inverse = brentq(slope, low, high, xtol=1e-14, rtol=1e-14)
    return Fit(min(max(float(1 / inverse), LOWEST), HIGHEST), [])


def centred(logits: np.ndarray) -> np.ndarray:
    """Return logits [n, C] minus the largest of each sample, in double precision."""
    values = np.asarray(logits, np.float64)
    return values - values.max(axis=1, keepdims=True)
