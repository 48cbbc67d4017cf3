"""The samples of a split with rows of weights: the argument of every metric function.

A row of ones gives the value of the metric, rows of multinomial counts give its bootstrap
replicates, and rows multiplied by the long-tail weight give the long-tail-weighted variant.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import Task

Array = np.ndarray
Values = dict[str, Array]


@dataclass(frozen=True)
class WeightedSamples:
    """A prediction on N samples and C classes, with B rows of weights.

    Attributes:
        prediction: probabilities and labels.
        weights: [B, N].
        base: [N] weights that define bins of equal mass: ones or the long-tail weight.
        task: class names and groups.
        classwise: the class-wise calibration error [B], if it was gathered with other numbers.
    """

    prediction: Prediction
    weights: Array
    base: Array
    task: Task
    classwise: Array | None = None

    def block(self, rows: slice, weights: Array) -> "WeightedSamples":
        """Return some of the rows, with other weights."""
        classwise = None if self.classwise is None else self.classwise[rows]
        return replace(self, weights=weights, classwise=classwise)

    @cached_property
    def class_sums(self) -> "ClassSums":
        """Support, predictions and hits of each class, computed once for all metrics."""
        return ClassSums.of(self.prediction, self.weights)


class ClassSums:
    """Weighted counts per class, all [B, C]: support, predictions and hits."""

    def __init__(self, support: Array, predicted: Array, hits: Array) -> None:
        self.support, self.predicted, self.hits = support, predicted, hits

    @classmethod
    def of(cls, prediction: Prediction, weights: Array) -> "ClassSums":
        """Sum the weights [B, N] by true class, by predicted class, and by class over the hits."""
        return cls.count(prediction.labels, prediction.predicted, prediction.classes, weights)

    @classmethod
    def count(cls, labels: Array, predicted: Array, classes: int, weights: Array) -> "ClassSums":
        """Sum the weights [B, N] of N labels and N predicted classes."""
        hits = labels == predicted
        return cls(
            sum_by_class(weights, labels, classes),
            sum_by_class(weights, predicted, classes),
            sum_by_class(weights[:, hits], labels[hits], classes),
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
        """2 · hits / (support + predictions); NaN for a class that has neither."""
        return ratio(2 * self.hits, self.support + self.predicted)


def sum_by_class(weights: Array, of: Array, classes: int) -> Array:
    """Return the sums [B, classes] of weights [B, N] over the samples of each class."""
    order = np.argsort(of, kind="stable")
    present, starts = np.unique(of[order], return_index=True)
    sums = np.zeros((len(weights), classes))
    if len(starts):
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def ratio(numerator: Array, denominator: Array, where_zero: Array | float = np.nan) -> Array:
    """Divide; return `where_zero`, NaN by default, where the denominator is zero."""
    out = np.broadcast_to(where_zero, np.shape(numerator)).astype(float)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def nanmean(values: Array) -> Array:
    """Return the mean over the last axis without NaN; NaN if all values are NaN."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=-1), defined.sum(axis=-1))
