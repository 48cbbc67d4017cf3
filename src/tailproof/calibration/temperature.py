"""The maximum-likelihood temperature on the split calib."""

from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from tailproof.calibration.calibration_file import HIGHEST, LOWEST


class Fit(NamedTuple):
    """A fitted temperature, with warnings for the user."""

    temperature: float
    warnings: list[str]


def sample_weights(labels: np.ndarray, weighting: Literal["plain", "class_balanced"]) -> np.ndarray:
    """Return N weights of sum 1: equal, or 1/n_class so that all present classes count equally."""
    if weighting == "plain":
        return np.full(len(labels), 1 / len(labels))
    weights = 1 / np.bincount(labels)[labels]
    return weights / weights.sum()


def fit_temperature(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Fit:
    """Return the T in [0.05, 20] that minimises Σ w_i · −log softmax(z_i / T)[y_i].

    In the inverse temperature b = 1/T the sum is convex (a log-sum-exp of functions linear in b,
    minus a linear one), so in log T it has one minimum and its derivative changes sign once.
    Brent's method finds that root
    (Guo et al. 2017, section 4.2, fit the same T by gradient descent).

    Without a change of sign the likelihood has no maximum within the bounds. If all samples are
    correct or the logits are constant, the samples carry no information about confidence, and T
    stays 1; otherwise T is the bound towards which the likelihood rises. Each case adds a warning.

    Args:
        logits: [N, C]; used in double precision.
        labels: N class indices.
        weights: N weights of sum 1.
    """
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    truth = logits[np.arange(len(labels)), labels]

    def slope(log_temperature: float) -> float:
        expected = (softmax(logits * np.exp(-log_temperature), axis=1) * logits).sum(axis=1)
        return float(weights @ (expected - truth))

    low, high = np.log(LOWEST), np.log(HIGHEST)
    if not logits.any():
        return Fit(1.0, ["the logits of every sample are constant: the temperature stays 1"])
    if (truth >= 0).all():
        return Fit(
            1.0,
            [
                "all samples of calib are classified correctly, so no temperature is the most "
                "likely: it stays 1; enlarge data.splits.calib"
            ],
        )
    if slope(low) <= 0:
        return Fit(
            LOWEST,
            [
                f"the likelihood still rises at the lowest temperature {LOWEST}: the logits are "
                "far too small for how often they are right"
            ],
        )
    if slope(high) >= 0:
        return Fit(
            HIGHEST,
            [
                f"the likelihood still rises at the highest temperature {HIGHEST}: on calib the "
                "logits say next to nothing about the class"
            ],
        )
    temperature = float(np.exp(brentq(slope, low, high, xtol=1e-12, rtol=1e-14)))
    return Fit(min(max(temperature, LOWEST), HIGHEST), [])
