"""Class shares: which ones an expert's probabilities assume, and how to change to others.

Probabilities are right for images whose classes are as frequent as the expert assumes: p(y|x) is
proportional to p(x|y) · prior(y). For other shares they are multiplied by the ratio of the two.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaincinv, logsumexp

from tailproof.calibration.metrics import log_probabilities
from tailproof.evaluation.bootstrap import finite_or_none
from tailproof.evaluation.probabilities import Prediction
from tailproof.text import quantity

STRONGEST = 3.0
SMOOTHING = 0.5
"""Added to the number of samples of each class, so that no class is impossible."""

ROUNDS, CHANGE = 2000, 1e-9
LEVEL = 0.05
MOST_DEVIATIONS = 3.0
LEAST_CHECKED = 0.9
LEAST_KEPT = 0.95


def shares(counts: np.ndarray) -> np.ndarray:
    """Return the shares of classes from their counts [C], with `SMOOTHING`."""
    return (counts + SMOOTHING) / (counts + SMOOTHING).sum()


class Strength(NamedTuple):
    """How strongly a softmax assumes the training shares, with the standard error of the fit."""

    value: float
    error: float


def fit_prior_strength(log_p: np.ndarray, labels: np.ndarray, train_counts: np.ndarray) -> Strength:
    """Return a, so that the softmax is a posterior under class shares in proportion to n^a.

    Plain cross-entropy learns a posterior under the training shares: a is about 1. Balanced softmax
    and balanced samplers learn one under equal shares: a is about 0, and pas equals thr. Logit
    adjustment with tau 2 leads to −1. What an expert really learnt is fitted: with r_y as the class
    shares of the samples, a maximises the likelihood of softmax(log p_y + log r_y − a · log n_y).

    Args:
        log_p: log-probabilities [N, C] of samples that were not learnt, and that no guarantee is
            fitted on.
        labels: N class indices.
        train_counts: training samples of each class, [C].

    Returns:
        a within ±3; 1 ± 0 if all classes are equally frequent in train, which any a describes.
    """
    log_n = np.log(np.maximum(train_counts, 1))
    if np.ptp(log_n) == 0 or not len(labels):
        return Strength(1.0, 0.0)
    present, labels = np.unique(labels, return_inverse=True)
    log_n, rows = log_n[present], np.arange(len(labels))
    moved = log_p[:, present] + np.log(np.bincount(labels) / len(labels))

    def loss(strength: float) -> float:
        return -log_probabilities(moved - strength * log_n)[rows, labels].mean()

    from scipy.optimize import minimize_scalar  # slow to import, and `predict` does without

    strength = minimize_scalar(loss, bounds=(-STRONGEST, STRONGEST), method="bounded").x
    p = np.exp(log_probabilities(moved - strength * log_n))
    information = (p @ log_n**2 - (p @ log_n) ** 2).sum()
    error = 1 / np.sqrt(max(information, 1 / STRONGEST**2))
    return Strength(round(float(strength), 4), round(float(error), 4))


def prior_shares(train_counts: np.ndarray, strength: float) -> np.ndarray:
    """Return the class shares [C] in proportion to n^strength; a class without samples counts 1."""
    log_n = strength * np.log(np.maximum(train_counts, 1))
    powers = np.exp(log_n - log_n.max())
    return powers / powers.sum()


@dataclass(frozen=True)
class ClassConfidence:
    """The largest probability of samples of each class, measured on tune.

    Attributes:
        mean, sd: [C]; NaN for a class with fewer than two samples.
        samples: [C].
    """

    mean: np.ndarray
    sd: np.ndarray
    samples: np.ndarray

    def to_jsonable(self) -> dict[str, Any]:
        """Return the fields of `tailproof.evaluation.deployment.Assumptions`."""
        return {
            "confidence_mean": [finite_or_none(value) for value in self.mean],
            "confidence_sd": [finite_or_none(value) for value in self.sd],
            "samples": self.samples.tolist(),
        }

    @classmethod
    def of(cls, prediction: Prediction) -> "ClassConfidence":
        """Measure labelled samples."""
        confidence, labels, classes = (
            prediction.confidence,
            prediction.labels,
            prediction.classes,
        )
        samples = np.bincount(labels, minlength=classes)
        several = samples > 1
        mean, square = (
            np.bincount(labels, confidence**power, classes) / np.maximum(samples, 1)
            for power in (1, 2)
        )
        variance = np.maximum(square - mean**2, 0) * samples / np.maximum(samples - 1, 1)
        undefined = np.full(classes, np.nan)
        return cls(
            np.where(several, mean, undefined),
            np.where(several, np.sqrt(variance), undefined),
            samples,
        )


@dataclass(frozen=True)
class EstimatedShares:
    """Class shares that were estimated from images without labels.

    Attributes:
        shares: the shares to use, [C]: the estimated ones, or those assumed if they are not
            trusted.
        trusted: whether they are used.
        reason: why, in words.
    """

    shares: np.ndarray
    trusted: bool
    reason: str


def estimate_shares(
    log_p: np.ndarray,
    assumed: np.ndarray,
    known: ClassConfidence,
    confidence: np.ndarray | None = None,
) -> EstimatedShares:
    """Estimate the class shares of images without labels by expectation maximisation.

    Each round gives every image its probabilities under the current shares, and takes their mean as
    the next shares (Saerens, Latinne & Decaestecker 2002, equation 2.9): the likelihood of the
    images rises to its only maximum. The result is not trusted, and the assumed shares stay,

    - if the images do not show that the shares differ: the likelihood-ratio test of the same paper
      (section 2.3) with C − 1 degrees of freedom at 5 %,
    - if they are too few to estimate C shares: noise in C − 1 shares raises the log-likelihood of
      these images by (C − 1)/2 and lowers that of others by as much (Akaike 1974), and 95 % of the
      true gain must remain,
    - if the images are not the known classes in other shares: the mean confidence differs by more
      than three standard errors from that of the classes on tune, mixed by the estimated shares,
    - or if this cannot be checked, because classes with more than a tenth of the estimated shares
      have fewer than two samples on tune.

    Args:
        log_p: log-probabilities [N, C] under the assumed shares.
        assumed: the assumed shares [C].
        known: confidence of the classes on tune, under the assumed shares.
        confidence: the largest probability of each image among the classes of `known`'s
            measurement, [N], where `log_p` leaves some of these out. Default: that of `log_p`.
    """
    confidence = np.exp(log_p.max(axis=1)) if confidence is None else confidence
    estimated = _maximise(log_p, assumed)
    gain, free = _log_likelihood(log_p, assumed, estimated), log_p.shape[1] - 1
    # Half a quantile of chi-squared, without scipy.stats, which is slow to import.
    if gain < gammaincinv(free / 2, 1 - LEVEL):
        return EstimatedShares(assumed, False, "the images give no evidence of other class shares")
    if gain - free < LEAST_KEPT * (gain - free / 2):
        return EstimatedShares(
            assumed,
            False,
            f"{quantity(len(log_p), 'image')} {'is' if len(log_p) == 1 else 'are'} too few to "
            f"estimate the shares of {free + 1:,} classes",
        )
    checked = ~np.isnan(known.mean)
    if estimated[checked].sum() < LEAST_CHECKED:
        return EstimatedShares(
            assumed,
            False,
            "too many of the images seem to be of classes with fewer than two images in tune",
        )
    deviations = _deviations(confidence, estimated, known, checked)
    if abs(deviations) > MOST_DEVIATIONS:
        word = "less" if deviations < 0 else "more"
        return EstimatedShares(
            assumed,
            False,
            f"the expert is {word} confident than any shares of the known classes explain "
            f"({abs(deviations):.1f} standard errors): the images are of another kind",
        )
    return EstimatedShares(estimated, True, "the images show other class shares")


def _maximise(log_p: np.ndarray, assumed: np.ndarray) -> np.ndarray:
    current = assumed
    likelihood = np.exp(log_p) / assumed
    for _ in range(ROUNDS):
        weighted = likelihood * current
        following = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(following - current).max() < CHANGE:
            break
        current = following
    # A class that no image seems to have stays possible.
    current = current + 1e-9
    return current / current.sum()


def _log_likelihood(log_p: np.ndarray, assumed: np.ndarray, actual: np.ndarray) -> float:
    """Return the log-likelihood of the images under `actual` minus that under `assumed`."""
    return float(logsumexp(log_p + np.log(actual) - np.log(assumed), axis=1).sum())


def _deviations(
    confidence: np.ndarray, estimated: np.ndarray, known: ClassConfidence, checked: np.ndarray
) -> float:
    """Return how far the mean confidence is from the expected one, in standard errors."""
    share = estimated[checked] / estimated[checked].sum()
    mean, sd, samples = (part[checked] for part in (known.mean, known.sd, known.samples))
    expected = share @ mean
    spread = max(share @ (sd**2 + mean**2) - expected**2, 0)
    error = np.sqrt(spread / len(confidence) + (share**2) @ (sd**2 / samples))
    return float((confidence.mean() - expected) / max(error, 1e-9))
