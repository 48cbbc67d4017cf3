"""Scores of how well an expert knows an image; an image of a low score is called unknown.

From the logits z of an image, as the network computes them:

- ``max_softmax``: max_c softmax(z)_c (Hendrycks & Gimpel 2017), what most rejection rules use;
- ``max_logit``: max_c z_c (Hendrycks et al. 2022; Vaze et al. 2022);
- ``energy``: log Σ_c exp(z_c), minus the free energy at temperature 1 (Liu et al. 2020, eq. 4).

From its features f, what the classifier gets:

- ``knn``: minus the distance of f / |f| from its k-th nearest neighbour among those of train (Sun
  et al. 2022, section 3);
- ``mahalanobis``: −min_c (f − μ_c)ᵀ Σ⁻¹ (f − μ_c) with the class means of train and one covariance
  of all classes (Lee et al. 2018, equation 2). Rare classes leave Σ ill-conditioned or singular,
  so it is shrunk towards a multiple of the identity (Ledoit & Wolf 2004).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import logsumexp

LogitScore = Literal["max_softmax", "max_logit", "energy"]
FeatureScore = Literal["knn", "mahalanobis"]
LOGIT_SCORES: tuple[str, ...] = get_args(LogitScore)
FEATURE_SCORES: tuple[str, ...] = get_args(FeatureScore)
SCORES = (*LOGIT_SCORES, *FEATURE_SCORES)
DEFAULT, REFERENCE = "max_logit", "max_softmax"
"""The score without a reason for another one, and the one that the others are compared with."""

NEIGHBORS = 5
"""A rare class has few training images, and a neighbour of another class says nothing of it."""
BANK_BYTES = 2**24
"""Size of the training features that an expert's folder keeps for ``knn``, at most."""
ROWS = 1024  # computed together

Array = np.ndarray


def logit_scores(logits: Array) -> dict[str, Array]:
    """Return each of `LOGIT_SCORES` of logits [N, C]."""
    logits = logits.astype(np.float64)
    top, energy = logits.max(axis=1), logsumexp(logits, axis=1)
    return {"max_softmax": np.exp(top - energy), "max_logit": top, "energy": energy}


def mean_score(scores: Sequence[Array], weights: Array) -> Array:
    """Return the score of an ensemble: the weighted mean, rounded to single precision, float64 [N].

    Scores are not standardized. If all weights are 0, every expert counts the same.

    Args:
        scores: the same score of each of E experts, [N].
        weights: how much each counts, [E, 1] or [E, N]; at least 0.
    """
    weights = np.where(weights.any(axis=0), weights, 1.0)
    total, summed = np.zeros(weights.shape[1]), np.zeros(len(scores[0]))
    for weight, own in zip(weights, scores, strict=True):  # one by one, in the same order always
        total += weight
        summed += weight * own
    return (summed / total).astype(np.float32).astype(np.float64)


@dataclass(frozen=True)
class KnownFeatures:
    """What is kept of the features of train.

    Attributes:
        centre: their mean, float32 [D].
        whitening: W with WᵀW = Σ⁻¹, float32 [D, D].
        means: W(μ_c − centre) of the classes with a training image, float32 [C, D].
        bank: features of length 1, float16 [M, D].
    """

    centre: Array
    whitening: Array
    means: Array
    bank: Array

    @classmethod
    def fit(cls, features: Array, labels: Array) -> "KnownFeatures":
        """Fit on the N images of train.

        The bank has at most `BANK_BYTES`. If it cannot hold all images, it holds the same number of
        each class, the first ones, and all images of a class that has fewer.

        Args:
            features: [N, D], in a random order.
            labels: class indices, int [N].
        """
        present, own = np.unique(labels, return_inverse=True)
        sums = np.zeros((len(present), features.shape[1]))
        np.add.at(sums, own, features)
        means = sums / np.bincount(own)[:, None]
        centre = sums.sum(axis=0) / len(labels)
        whitening = np.linalg.inv(np.linalg.cholesky(shrunk_covariance(features, own, means)))
        directions = _normalized(features[bank_rows(own, features.shape[1])])
        return cls(
            centre.astype(np.float32),
            whitening.astype(np.float32),
            ((means - centre) @ whitening.T).astype(np.float32),
            directions.astype(np.float16),
        )

    def scores(self, features: Array) -> dict[str, Array]:
        """Return each of `FEATURE_SCORES` of features [N, D]."""
        bank = _normalized(self.bank.astype(np.float32)).T
        parts: dict[str, list[Array]] = {name: [] for name in FEATURE_SCORES}
        for start in range(0, len(features), ROWS):
            rows = features[start : start + ROWS].astype(np.float32)
            parts["knn"].append(_neighbour_scores(rows, bank))
            parts["mahalanobis"].append(self._mahalanobis(rows))
        return {name: np.concatenate([np.empty(0), *part]) for name, part in parts.items()}

    def _mahalanobis(self, rows: Array) -> Array:
        whitened = ((rows - self.centre) @ self.whitening.T).astype(np.float64)
        means = self.means.astype(np.float64)
        squares = (whitened**2).sum(axis=1)[:, None] + (means**2).sum(axis=1)
        return -np.maximum(squares - 2 * whitened @ means.T, 0).min(axis=1)


def shrunk_covariance(features: Array, labels: Array, means: Array) -> Array:
    """Return (1 − ρ)·S + ρ·(tr S / D)·I, positive definite [D, D].

    S is the covariance around the class means, and ρ minimizes the expected squared error (Ledoit &
    Wolf 2004, equation 14, with their estimates of section 3.3).

    Args:
        features: [N, D].
        labels: rows of `means`, int [N].
        means: class means [C, D].
    """
    samples, width = features.shape
    product, fourth = np.zeros((width, width)), 0.0
    for centred in _centred(features, labels, means):
        product += centred.T @ centred
        fourth += ((centred**2).sum(axis=1) ** 2).sum()
    covariance = product / samples
    mean = np.trace(covariance) / width
    norm = (covariance**2).sum()
    distance = norm - width * mean**2
    error = min((fourth / samples - norm) / samples, distance)
    shrinkage = error / distance if distance > 0 else 1.0
    identity = np.eye(width) * (mean or 1.0)  # 1: all images of a class are the same
    return (1 - shrinkage) * covariance + max(shrinkage, 1e-6) * identity


def bank_rows(labels: Array, width: int) -> Array:
    """Return the rows of train that the bank holds, int [M]."""
    most = max(1, BANK_BYTES // (np.dtype(np.float16).itemsize * width))
    number = np.empty(len(labels), int)  # of each image in its class
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        number[here] = np.arange(len(here))
    filled = np.cumsum(np.bincount(number))  # images, if a class has at most so many
    fits = int(np.searchsorted(filled, most, side="right"))
    rows = np.flatnonzero(number < fits) if fits else np.arange(len(labels))
    return rows[:most]


def _centred(features: Array, labels: Array, means: Array) -> Iterator[Array]:
    for start in range(0, len(features), ROWS):
        rows = slice(start, start + ROWS)
        yield features[rows].astype(np.float64) - means[labels[rows]]


def _normalized(features: Array) -> Array:
    features = features.astype(np.float32)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(length, np.finfo(np.float32).tiny)


def _neighbour_scores(rows: Array, bank: Array) -> Array:
    cosines = _normalized(rows) @ bank
    place = max(0, cosines.shape[1] - NEIGHBORS)
    cosine = np.partition(cosines, place, axis=1)[:, place].astype(np.float64)
    return -np.sqrt(np.maximum(2 - 2 * cosine, 0))
