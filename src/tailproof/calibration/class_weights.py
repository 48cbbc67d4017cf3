"""Weights of the samples of a fit, by class frequencies where the calibrator is used.

A calibrator is right for the class shares that it was fitted on. Where only the training pool was
thinned to a long tail, calib has that tail, and tune, dev and test do not. Each sample is then
weighted by the ratio of its class's shares (importance weighting for label shift, Saerens et al.
2002, equation 2.4).
"""

import numpy as np
from scipy.special import chdtrc

from tailproof.config.calibration import Weighting

LEVEL = 0.05
"""Shares that differ by chance do so this often; to weigh them then costs little."""

Array = np.ndarray


def resolve_weighting(weighting: Weighting, labels: Array, tune: Array) -> Weighting:
    """Return ``plain`` in place of ``like_tune`` if the class shares may be the same.

    Args:
        weighting: the configured weighting.
        labels: class indices of the samples to fit on.
        tune: class indices of the samples of tune.
    """
    return "plain" if weighting == "like_tune" and not shares_differ(labels, tune) else weighting


def shares_differ(first: Array, second: Array) -> bool:
    """Return whether two samples have other class shares: Pearson's test of homogeneity at 5 %."""
    classes = max([0, *first, *second]) + 1
    counts = np.array([np.bincount(labels, minlength=classes) for labels in (first, second)])
    counts = counts[:, counts.any(axis=0)]
    if not counts.size or not counts.any(axis=1).all():
        return False
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    return bool(chdtrc(counts.shape[1] - 1, statistic) < LEVEL)


def sample_weights(labels: Array, weighting: Weighting, tune: Array | None = None) -> Array:
    """Return N weights: ones, or those that give each class the share that it should have.

    Their sum is the effective number of samples (Σw)² / Σw² (Kish 1965), so that unequal weights
    do not pass for more information than they carry.

    Args:
        labels: N class indices.
        weighting: plain, class_balanced, or like_tune.
        tune: class indices of the samples of tune; only like_tune needs them.
    """
    counts = np.bincount(labels)
    wanted: np.ndarray
    if weighting == "like_tune":
        assert tune is not None  # the caller has it
        wanted = np.bincount(tune, minlength=len(counts))[: len(counts)]
    else:
        wanted = counts if weighting == "plain" else np.ones(len(counts))
    weights = (wanted / np.maximum(counts, 1))[labels]
    if not weights.any():  # tune has none of these classes
        return np.ones(len(labels))
    return weights * weights.sum() / (weights**2).sum()
