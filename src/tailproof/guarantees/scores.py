"""Scores of how badly a class fits an image; a prediction set holds the classes of low score.

- ``thr``: 1 − p_y (Sadinle, Lei & Wasserman 2019; also called LAC).
- ``aps``: the summed probability of y and of all more probable classes (Romano, Sesia & Candès
  2020), without randomisation, so that an image always gets the same set.
- ``raps``: aps + 0.01 · max(0, rank of y − 5) (Angelopoulos et al. 2021, with the fixed values of
  Angelopoulos & Bates 2023).
- ``pas``: −p_y / share_y, the prevalence-adjusted softmax (Ding, Fermanian & Salmon 2026). The
  share is how frequent y is where the softmax is a posterior: see `fit_prior_strength`.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from tailproof.calibration.metrics import log_probabilities

SCORES = ("thr", "aps", "raps", "pas")
PENALTY, FREE_RANKS = 0.01, 5
DIGITS = 9
"""Digits of a summed probability that do not depend on the order of the sum."""

STRONGEST = 3.0

Array = np.ndarray


def score_classes(score: str, p: Array, shares: Array) -> Array:
    """Return the score of every class for every sample, [N, C]; lower fits better.

    Args:
        score: one of `SCORES`.
        p: probabilities [N, C].
        shares: positive class shares [C]; only pas uses them.
    """
    if score == "thr":
        return 1 - p
    if score == "pas":
        return -p / shares
    order = np.argsort(-p, axis=1, kind="stable")
    summed = np.cumsum(np.take_along_axis(p, order, 1), axis=1)
    if score == "raps":
        summed += PENALTY * np.maximum(0, np.arange(1, p.shape[1] + 1) - FREE_RANKS)
    scores = np.empty_like(summed)
    np.put_along_axis(scores, order, np.round(summed, DIGITS), 1)
    return scores


class Strength(NamedTuple):
    """How strongly a softmax assumes the training shares, with the standard error of the fit."""

    value: float
    error: float


def fit_prior_strength(log_p: Array, labels: Array, train_counts: Array) -> Strength:
    """Return a, so that the softmax is a posterior under class shares in proportion to n^a.

    Plain cross-entropy learns a posterior under the training shares: a is about 1. Balanced softmax
    and balanced samplers learn one under equal shares: a is about 0, and pas equals thr. Logit
    adjustment with tau 2 leads to −1. What an expert really learnt is fitted: with r_y as the class
    shares of the samples, a maximises the likelihood of softmax(log p_y + log r_y − a · log n_y).

    Args:
        log_p: log-probabilities [N, C] of samples that guarantees are not fitted on.
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

    strength = minimize_scalar(loss, bounds=(-STRONGEST, STRONGEST), method="bounded").x
    p = np.exp(log_probabilities(moved - strength * log_n))
    information = (p @ log_n**2 - (p @ log_n) ** 2).sum()
    error = 1 / np.sqrt(max(information, 1 / STRONGEST**2))
    return Strength(round(float(strength), 4), round(float(error), 4))


def prior_shares(train_counts: Array, strength: float) -> Array:
    """Return the class shares [C] in proportion to n^strength; a class without samples counts 1."""
    log_n = strength * np.log(np.maximum(train_counts, 1))
    shares = np.exp(log_n - log_n.max())
    return shares / shares.sum()
