"""Metrics as functions of (prediction, weights [B, N]) that return [B] values.

One row of weights gives the value itself, rows of multinomial counts its bootstrap replicates,
rows times the long-tail weight the long-tail-weighted variant of both.
"""

import numpy as np

from tailproof.calibration import metrics
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import Task

Array = np.ndarray
Values = dict[str, Array]


def measure(prediction: Prediction, weights: Array, base: Array, task: Task) -> Values:
    """Return every metric that is no matter of rejection.

    Args:
        prediction: N samples, C classes.
        weights: [B, N].
        base: [N] weights by which bins of equal mass are cut: ones or the long-tail weight.
        task: class groups.
    """
    labels, p = prediction.labels, prediction.p
    found = {
        "top1": metrics.weighted_mean(prediction.correct.astype(float), weights),
        "top5": metrics.weighted_mean((prediction.rank_of_truth() < 5).astype(float), weights),
    }
    sums = ClassSums.of(prediction, weights)
    found["balanced_accuracy"] = nanmean(sums.recall)
    found["macro_f1"] = nanmean(sums.f1)
    for name, members in task.groups.items():
        found[f"{name}_accuracy"] = nanmean(sums.recall[:, members])
    found["nll"] = metrics.nll(prediction.log_p, labels, weights)
    found["brier"] = metrics.brier(p, labels, weights)
    found["ece"] = metrics.ece(p, labels, weights)
    found["ece_equal_mass"] = metrics.ece_equal_mass(p, labels, weights, base=base)
    found["ece_classwise"] = metrics.ece_classwise(p, labels, weights)
    return found


def measure_uncalibrated(raw: Prediction, weights: Array) -> Values:
    """Return the scores of an expert before calibration."""
    return {
        "nll_uncalibrated": metrics.nll(raw.log_p, raw.labels, weights),
        "ece_uncalibrated": metrics.ece(raw.p, raw.labels, weights),
    }


class ClassSums:
    """Weighted counts by class, each [B, C]: support, predicted, and hits (both)."""

    def __init__(self, support: Array, predicted: Array, hits: Array) -> None:
        self.support, self.predicted, self.hits = support, predicted, hits

    @classmethod
    def of(cls, prediction: Prediction, weights: Array) -> "ClassSums":
        """Sum the weights [B, N] by true class, by predicted class, and where both agree."""
        classes = prediction.log_p.shape[1]
        true = np.eye(classes)[prediction.labels]
        return cls(
            weights @ true,
            weights @ np.eye(classes)[prediction.predicted],
            weights @ (true * prediction.correct[:, None]),
        )

    @property
    def recall(self) -> Array:
        """Hits over support; NaN for a class without samples."""
        return ratio(self.hits, self.support)

    @property
    def precision(self) -> Array:
        """Hits over predictions; NaN for a class that is never predicted."""
        return ratio(self.hits, self.predicted)

    @property
    def f1(self) -> Array:
        """2 · hits / (support + predictions); NaN for a class that is neither."""
        return ratio(2 * self.hits, self.support + self.predicted)


def ratio(numerator: Array, denominator: Array, where_zero: Array | float = np.nan) -> Array:
    """Divide; `where_zero` (NaN) where the denominator is zero."""
    out = np.broadcast_to(where_zero, np.shape(numerator)).astype(float)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def nanmean(values: Array) -> Array:
    """Return the mean over the last axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))


def agreement(first: Prediction, second: Prediction, weights: Array) -> Values:
    """Compare two methods on the same samples: [B] values each.

    agreement: share of samples where both predict the same class. kappa: Cohen's (1960),
    (p_o − p_e) / (1 − p_e); NaN where both always predict one and the same class.
    exactly_one_right: share of samples where one is right and the other wrong.
    """
    same = (first.predicted == second.predicted).astype(float)
    one = (first.correct != second.correct).astype(float)
    observed = metrics.weighted_mean(same, weights)
    classes = np.eye(first.log_p.shape[1])
    total = weights.sum(axis=1)
    by_chance = ((weights @ classes[first.predicted]) * (weights @ classes[second.predicted])).sum(
        axis=1
    ) / total**2
    return {
        "agreement": observed,
        "kappa": ratio(observed - by_chance, np.where(by_chance < 1 - 1e-12, 1 - by_chance, 0)),
        "exactly_one_right": metrics.weighted_mean(one, weights),
    }
