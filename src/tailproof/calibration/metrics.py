"""Proper scores and calibration errors, each a function of (probabilities, labels, weights).

`probabilities` is [N, C] and `labels` holds N class indices. `weights` is [N], which returns a
float, or [B, N], which returns B values at once: the bootstrap passes B rows of counts. By default
every sample has weight 1.
"""

import numpy as np

BINS = 15
_BLOCK = 2**22

Array = np.ndarray


def log_probabilities(logits: Array, dtype: type = np.float64) -> Array:
    """Return the log-softmax of [N, C] finite logits, in double precision by default."""
    # The same bits as scipy.special.log_softmax, in a sixth of its time.
    log_p: Array = np.array(logits, dtype)
    log_p -= log_p.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    return log_p


def weighted_mean(values: Array, weights: Array | None = None) -> Array:
    """Return the weighted mean of N values for each row of weights; NaN where a row is all zero."""
    weights = np.ones(len(values)) if weights is None else weights
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ values) / weights.sum(axis=-1)


def nll(log_p: Array, labels: Array, weights: Array | None = None) -> Array:
    """Return the negative log-likelihood in nats: the mean of −log p(label).

    It takes *log*-probabilities, because a probability may underflow to zero.
    """
    return weighted_mean(-log_p[np.arange(len(labels)), labels], weights)


def brier(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """Return the mean of Σ_c (p_c − 1[label = c])², between 0 and 2 (Brier 1950, equation 2)."""
    truth = probabilities[np.arange(len(labels)), labels]
    squares = np.einsum("nc,nc->n", probabilities, probabilities)
    return weighted_mean(squares - 2 * truth + 1, weights)


def ece(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """Return the expected calibration error of the top class: `confidence_error`."""
    return confidence_error(*top_class(probabilities, labels), weights)


def ece_debiased(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """Return the `ece` without what noise adds to it: `confidence_error_debiased`."""
    return confidence_error_debiased(*top_class(probabilities, labels), weights)


def ece_equal_mass(
    probabilities: Array,
    labels: Array,
    weights: Array | None = None,
    base: Array | None = None,
) -> Array:
    """Return the expected calibration error over bins of equal mass."""
    return confidence_error_equal_mass(*top_class(probabilities, labels), weights, base)


def ece_classwise(probabilities: Array, labels: Array, weights: Array | None = None) -> Array:
    """Return the class-wise calibration error: see `ClasswiseError`."""
    samples, classes = probabilities.shape
    rows = np.ones(samples) if weights is None else np.asarray(weights)
    error = ClasswiseError(labels, classes, np.atleast_2d(rows))
    for start in range(0, samples, max(1, _BLOCK // classes)):
        block = slice(start, min(samples, start + max(1, _BLOCK // classes)))
        error.add(block, probabilities[block], probabilities[block])
    return error.values() if rows.ndim > 1 else error.values()[0]


def confidence_error(confidence: Array, correct: Array, weights: Array | None = None) -> Array:
    """Return the expected calibration error of the top class in `BINS` bins of equal width.

    Σ_b (n_b / N) · |accuracy_b − confidence_b| over the bins ((b−1)/BINS, b/BINS] (Guo et al.
    2017, equation 3).

    Args:
        confidence: the largest probability of each sample, [N].
        correct: whether its class is the label, [N].
        weights: [N] or [B, N].
    """
    return _gap(correct - confidence, equal_width_bins(confidence, BINS), weights)


def confidence_noise(confidence: Array, weights: Array | None = None) -> Array:
    """Return the `confidence_error` that noise alone gives: its expectation if all were right.

    √(2/π) · Σ_b √(Σ_{i in b} w_i² · c_i · (1 − c_i)) / Σ w with the confidence c: the expected
    absolute value of a normal sum in each bin (Bröcker & Smith 2007 call such a forecast
    consistent). A weight that is a bootstrap count stands for copies of one sample.
    """
    weights = np.ones(len(confidence)) if weights is None else weights
    spread = np.zeros((len(confidence), BINS))
    cell = equal_width_bins(confidence, BINS)
    spread[np.arange(len(confidence)), cell] = confidence * (1 - confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        spreads = np.sqrt(weights.astype(float) ** 2 @ spread * (2 / np.pi))
        return spreads.sum(axis=-1) / weights.sum(axis=-1)


def confidence_error_debiased(
    confidence: Array, correct: Array, weights: Array | None = None
) -> Array:
    """Return `confidence_error` without what noise adds to it: √(error² − noise²), or 0.

    Noise adds to every bin's absolute gap, so the error is above zero even for a calibrated
    prediction, and the more so the fewer samples there are. A gap δ with normal noise of standard
    deviation s has the expected absolute value √(δ² + 2s²/π), less at most 0.15 s.
    """
    measured = confidence_error(confidence, correct, weights)
    noise = confidence_noise(confidence, weights)
    return np.sqrt(np.maximum(measured**2 - noise**2, 0))


def confidence_error_equal_mass(
    confidence: Array, correct: Array, weights: Array | None = None, base: Array | None = None
) -> Array:
    """Return the expected calibration error over bins of equal mass (Nixon et al. 2019).

    The bins are chosen once, so that each holds the same share of the weights `base` [N] (ones by
    default); all rows of `weights` use the same bins.
    """
    base = np.ones(len(confidence)) if base is None else base
    return _gap(correct - confidence, equal_mass_bins(confidence, base, BINS), weights)


class ClasswiseError:
    """The class-wise calibration error for rows of weights, from blocks of probabilities.

    (1/C) Σ_c Σ_b (n_bc / N) · |share of class c in bin b − mean p_c in bin b|, with bins of equal
    width for each class (Kull et al. 2019, equation 3; Nixon et al. 2019 call it static
    calibration error).

    The probabilities of a sample sum to 1, so at most `BINS` − 1 of them are above the lowest bin.
    Memory has these, and for the lowest bin one number for each class and row of weights.

    Args:
        labels: N class indices.
        classes: C.
        counts: rows of weights, [B, N].
        base: [N] weights that multiply every row; ones by default.
    """

    def __init__(
        self, labels: Array, classes: int, counts: Array, base: Array | None = None
    ) -> None:
        self._labels, self._counts, self._base = labels, counts, base
        self._lowest = np.zeros((len(counts), classes))
        self._total = np.zeros(len(counts))
        self._above: list[tuple[Array, Array, Array]] = []  # rows, cells, residuals

    def add(self, rows: slice | Array, log_p: Array, probabilities: Array) -> None:
        """Take the log-probabilities, which are not used, and the probabilities of some samples."""
        samples = np.arange(len(self._labels))[rows]
        residual = -probabilities
        residual[np.arange(len(samples)), self._labels[samples]] += 1
        row, column = np.nonzero(probabilities > 1 / BINS)
        cell = column * BINS + equal_width_bins(probabilities[row, column], BINS)
        self._above.append((samples[row], cell, residual[row, column]))
        residual[row, column] = 0
        base = np.ones(len(samples)) if self._base is None else self._base[samples]
        residual *= base[:, None]
        weights = self._counts[:, rows].astype(float)
        self._lowest += weights @ residual
        self._total += weights @ base

    def values(self) -> Array:
        """Return the error for each row of weights, [B]; NaN where a row is all zero."""
        samples, cells, residuals = (
            np.concatenate(parts) if parts else np.empty(0, int)
            for parts in zip(*self._above, strict=True)
        )
        order = np.argsort(cells, kind="stable")
        samples, cells, residuals = samples[order], cells[order], residuals[order]
        if self._base is not None:
            residuals = residuals * self._base[samples]
        starts = np.flatnonzero(np.diff(cells, prepend=-1))
        errors = np.abs(self._lowest).sum(axis=1)
        step = max(1, _BLOCK // max(1, len(samples)))
        for start in range(0, len(self._counts) if len(starts) else 0, step):
            part = slice(start, start + step)
            sums = np.add.reduceat(self._counts[part][:, samples] * residuals, starts, axis=1)
            errors[part] += np.abs(sums).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return errors / self._total / self._lowest.shape[1]


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


def _gap(residual: Array, cell: Array, weights: Array | None) -> Array:
    """Return Σ_b |Σ_{i in b} w_i · residual_i| / Σ w for each row of weights."""
    weights = np.ones(len(residual)) if weights is None else weights
    spread = np.zeros((len(residual), BINS))
    spread[np.arange(len(residual)), cell] = residual
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(weights @ spread).sum(axis=-1) / weights.sum(axis=-1)
