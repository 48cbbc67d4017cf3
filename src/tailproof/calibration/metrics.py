"""Proper scores and calibration errors, each a function of (probabilities, labels, weights).

`probabilities` is [N, C] and `labels` holds N class indices. `weights` is [N], which returns a
float, or [B, N], which returns B values at once: the bootstrap passes B rows of counts. By default
every sample has weight 1.
"""

import numpy as np
from scipy.special import log_softmax

BINS = 15
_BLOCK = 2**22

Array = np.ndarray


def log_probabilities(logits: Array) -> Array:
    """Return the log-softmax of [N, C] logits in double precision."""
    return log_softmax(np.asarray(logits, np.float64), axis=1)


def weighted_mean(values: Array, weights: Array | None = None) -> Array | float:
    """Return the weighted mean of N values for each row of weights; NaN where a row is all zero."""
    weights = np.ones(len(values)) if weights is None else weights
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ values) / weights.sum(axis=-1)


def nll(log_p: Array, labels: Array, weights: Array | None = None) -> Array | float:
    """Return the negative log-likelihood in nats: the mean of −log p(label).

    It takes *log*-probabilities, because a probability may underflow to zero.
    """
    return weighted_mean(-log_p[np.arange(len(labels)), labels], weights)


def brier(probabilities: Array, labels: Array, weights: Array | None = None) -> Array | float:
    """Return the mean of Σ_c (p_c − 1[label = c])², between 0 and 2 (Brier 1950, equation 2)."""
    truth = probabilities[np.arange(len(labels)), labels]
    return weighted_mean((probabilities**2).sum(axis=1) - 2 * truth + 1, weights)


def ece(probabilities: Array, labels: Array, weights: Array | None = None) -> Array | float:
    """Return the expected calibration error of the top class in `BINS` bins of equal width.

    Σ_b (n_b / N) · |accuracy_b − confidence_b| over the bins ((b−1)/BINS, b/BINS] (Guo et al.
    2017, equation 3).
    """
    confidence, correct = top_class(probabilities, labels)
    return _gap(correct - confidence, equal_width_bins(confidence, BINS), weights)


def ece_noise(probabilities: Array, labels: Array, weights: Array | None = None) -> Array | float:
    """Return the `ece` that noise alone gives: its expectation if every confidence were right.

    √(2/π) · Σ_b √(Σ_{i in b} w_i² · c_i · (1 − c_i)) / Σ w with the confidence c: the expected
    absolute value of a normal sum in each bin (Bröcker & Smith 2007 call such a forecast
    consistent). A weight that is a bootstrap count stands for copies of one sample.
    """
    confidence, _ = top_class(probabilities, labels)
    weights = np.ones(len(labels)) if weights is None else weights
    spread = np.zeros((len(labels), BINS))
    cell = equal_width_bins(confidence, BINS)
    spread[np.arange(len(labels)), cell] = confidence * (1 - confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        spreads = np.sqrt(weights.astype(float) ** 2 @ spread * (2 / np.pi))
        return spreads.sum(axis=-1) / weights.sum(axis=-1)


def ece_debiased(
    probabilities: Array, labels: Array, weights: Array | None = None
) -> Array | float:
    """Return the `ece` without what noise adds to it: √(ece² − ece_noise²), or 0.

    Noise adds to every bin's absolute gap, so `ece` is above zero even for a calibrated
    prediction, and the more so the fewer samples there are. A gap δ with normal noise of standard
    deviation s has the expected absolute value √(δ² + 2s²/π), less at most 0.15 s.
    """
    measured = ece(probabilities, labels, weights)
    noise = ece_noise(probabilities, labels, weights)
    return np.sqrt(np.maximum(measured**2 - noise**2, 0))


def ece_equal_mass(
    probabilities: Array,
    labels: Array,
    weights: Array | None = None,
    base: Array | None = None,
) -> Array | float:
    """Return the expected calibration error over bins of equal mass (Nixon et al. 2019).

    The bins are chosen once, so that each holds the same share of the weights `base` [N] (ones by
    default); all rows of `weights` use the same bins.
    """
    confidence, correct = top_class(probabilities, labels)
    base = np.ones(len(labels)) if base is None else base
    return _gap(correct - confidence, equal_mass_bins(confidence, base, BINS), weights)


def ece_classwise(
    probabilities: Array, labels: Array, weights: Array | None = None
) -> Array | float:
    """Return the class-wise calibration error: the mean over classes of the error of p_c.

    (1/C) Σ_c Σ_b (n_bc / N) · |share of class c in bin b − mean p_c in bin b|, with bins of equal
    width for each class (Kull et al. 2019, equation 3; Nixon et al. 2019 call it static
    calibration error).
    """
    samples, classes = probabilities.shape
    weights = np.ones(samples) if weights is None else weights
    residual = -probabilities.copy()
    residual[np.arange(samples), labels] += 1
    cell = equal_width_bins(probabilities, BINS)
    step = max(1, _BLOCK // (samples * BINS))
    total = 0.0
    for start in range(0, classes, step):
        width = min(step, classes - start)
        spread = np.zeros((samples, width, BINS))
        block = slice(start, start + width)
        np.put_along_axis(spread, cell[:, block, None], residual[:, block, None], axis=2)
        total = total + np.abs(weights @ spread.reshape(samples, -1)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / weights.sum(axis=-1) / classes


def top_class(probabilities: Array, labels: Array) -> tuple[Array, Array]:
    """Return the largest probability and whether its class is correct, each [N]."""
    predicted = probabilities.argmax(axis=1)
    return probabilities[np.arange(len(labels)), predicted], (predicted == labels).astype(float)


def equal_width_bins(values: Array, bins: int) -> Array:
    """Return the bin of each value in [0, 1]: (b/bins, (b+1)/bins] is bin b, and 0 is in bin 0."""
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(edges, values, side="left")


def equal_mass_bins(values: Array, weights: Array, bins: int) -> Array:
    """Return the bin of each value, such that the bins, ordered by value, hold equal weight.

    A value belongs to the bin that contains the midpoint of its weight; equal values share a bin,
    so the order of the samples does not matter.
    """
    _, inverse = np.unique(values, return_inverse=True)
    mass = np.bincount(inverse, weights)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    return np.minimum((middle * bins).astype(int), bins - 1)[inverse]


def _gap(residual: Array, cell: Array, weights: Array | None) -> Array | float:
    """Return Σ_b |Σ_{i in b} w_i · residual_i| / Σ w for each row of weights."""
    weights = np.ones(len(residual)) if weights is None else weights
    spread = np.zeros((len(residual), BINS))
    spread[np.arange(len(residual)), cell] = residual
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(weights @ spread).sum(axis=-1) / weights.sum(axis=-1)
