"""Prediction sets: the classes that cannot be excluded at a promised coverage.

Split conformal prediction: the threshold of a score is the ⌈(n + 1) · coverage⌉-th smallest score
of the true classes of n samples. If these and an image are exchangeable, the set of the image holds
its class with at least the coverage. Two procedures differ in the thresholds of the score thr:

- ``classwise``: each class has the threshold of its own samples if there are enough for one, else
  that of all samples of the other classes together. The coverage is proven for each class with its
  own threshold. For the others it is only close: the samples decide which classes these are.
- ``interp_q``: 0.9 times the class's own threshold plus 0.1 times that of all samples; a class of
  too few samples has 1, the largest score (Ding, Fermanian & Salmon 2026). Its proven coverage is
  1 − 2 · (1 − coverage); in practice it is close to the coverage.

Where class shares differ from those of the fitted samples (label shift), every sample is weighted
by the ratio of the shares (Podkopaev & Ramdas 2021): the threshold of class y is the smallest score
below or at which lies a share of at least the coverage of all weights, with that of y once more.

The most probable class belongs to every set, so no set is empty. Thresholds are fitted for these
sets: a sample whose class is the most probable one has the lowest score. Where the accuracy reaches
the coverage, sets of the most probable class alone keep the promise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tailproof.evaluation.weighted_samples import nanmean
from tailproof.guarantees.scores import SCORES, Score, score_classes, score_labels
from tailproof.runtime.errors import TailproofError

Procedure = Score | Literal["interp_q", "classwise"]

PROCEDURES: tuple[str, ...] = (*SCORES, "interp_q", "classwise")
OWN_PART = 0.9
"""How much of a class's own threshold interp_q takes."""

LOWEST = -1e12
"""The score of the most probable class, below all others."""

LEAST_THR, LARGEST_THR = 0.0, 1.0

Array = np.ndarray


@dataclass(frozen=True)
class SetRule:
    """A fitted procedure.

    Attributes:
        procedure: one of `PROCEDURES`.
        coverage: how often a set should hold the true class.
        threshold: the largest score of a class in a set, [C] or [1]; inf for a class that is always
            in, `LOWEST` for one that is in where it is the most probable.
    """

    procedure: str
    coverage: float
    threshold: Array

    @property
    def score(self) -> str:
        """The score that the threshold applies to."""
        return self.procedure if self.procedure in SCORES else "thr"

    @property
    def promise(self) -> float:
        """The coverage that is proven; of classwise, only for classes with their own threshold."""
        return 2 * self.coverage - 1 if self.procedure == "interp_q" else self.coverage

    def holds(self, scores: Array) -> Array:
        """Return which classes the set of each sample holds, boolean [N, C].

        Args:
            scores: the rule's score of every class, from `set_scores`.
        """
        return scores <= self.threshold


def set_scores(score: str, p: Array, shares: Array) -> Array:
    """Return the score of every class [N, C], `LOWEST` for the most probable one.

    Args:
        score: one of `scores.SCORES`.
        p: probabilities [N, C].
        shares: class shares [C] for pas.
    """
    scores = score_classes(score, p, shares)
    scores[np.arange(len(p)), p.argmax(axis=1)] = LOWEST
    return scores


def absent_classes(labels: Array, target_shares: Array) -> Array:
    """Return the classes of positive share [C] that no label names."""
    observed = np.bincount(labels, minlength=len(target_shares))
    return np.flatnonzero((observed == 0) & (target_shares > 0))


def shift_weights(labels: Array, target_shares: Array, names: list[str]) -> Array:
    """Return the weight of each class [C] that turns the samples' class shares into others.

    Args:
        labels: N class indices of the samples that sets are fitted on.
        target_shares: class shares [C] of the images that the sets are for.
        names: names of the classes.

    Raises:
        TailproofError: a class that the images have is not among the samples.
    """
    observed = np.bincount(labels, minlength=len(names)) / max(len(labels), 1)
    absent = absent_classes(labels, target_shares)
    if len(absent):
        raise TailproofError(
            f"the class '{names[absent[0]]}' has a share of {target_shares[absent[0]]:.4g} in the "
            f"images, but none of the {len(labels)} samples that sets are fitted on is of this "
            "class: fit on samples of all classes, because no weight can replace absent ones"
        )
    return np.divide(target_shares, observed, out=np.zeros(len(names)), where=observed > 0)


class TrueScores:
    """Collects the scores of the true classes from blocks of probabilities.

    Attributes:
        scores: {score: [N]}.
    """

    def __init__(self, labels: Array, shares: Array) -> None:
        self._labels, self._shares = labels, shares
        self.scores = {score: np.zeros(len(labels)) for score in SCORES}

    def add(self, rows: slice, log_p: Array, p: Array) -> None:
        """Take some samples."""
        labels = self._labels[rows]
        most_probable = p.argmax(axis=1) == labels
        for score, values in score_labels(p, labels, self._shares).items():
            self.scores[score][rows] = np.where(most_probable, LOWEST, values)


class SetHits:
    """Collects what measurements need of prediction sets from blocks of probabilities.

    Args:
        labels: N class indices.
        shares: class shares [C] for pas.
        rules: the rules.

    Attributes:
        hit: for each rule whether its set holds the true class, boolean [N].
        size: for each rule the number of classes in its set, [N].
    """

    def __init__(self, labels: Array, shares: Array, rules: Sequence[SetRule]) -> None:
        self._labels, self._shares, self._rules = labels, shares, rules
        self.hit = [np.zeros(len(labels), bool) for _ in rules]
        self.size = [np.zeros(len(labels), int) for _ in rules]

    def add(self, rows: slice, log_p: Array, p: Array) -> None:
        """Take some samples."""
        labels = self._labels[rows]
        for score in SCORES:
            scores = set_scores(score, p, self._shares)
            for rule, hit, size in zip(self._rules, self.hit, self.size, strict=True):
                if rule.score == score:
                    held = rule.holds(scores)
                    hit[rows] = held[np.arange(len(labels)), labels]
                    size[rows] = held.sum(axis=1)


def fit_sets(
    true_scores: Mapping[str, Array], labels: Array, coverages: Sequence[float], weights: Array
) -> dict[float, dict[str, SetRule]]:
    """Fit every procedure at every coverage.

    Args:
        true_scores: {score: that of the true class of N samples}, from `TrueScores`.
        labels: their class indices.
        coverages: how often a set should hold the true class.
        weights: a weight for each class [C] under label shift, from `shift_weights`; else ones.
    """
    return {
        coverage: {
            name: SetRule(name, coverage, threshold)
            for name, threshold in _thresholds(true_scores, labels, weights, coverage).items()
        }
        for coverage in coverages
    }


def _thresholds(
    scores: Mapping[str, Array], labels: Array, weights: Array, coverage: float
) -> dict[str, Array]:
    """Return the thresholds of each procedure, given the scores of the true classes."""
    thresholds = {
        score: _collapsed(conformal_thresholds(own, weights[labels], weights, coverage))
        for score, own in scores.items()
    }
    by_class, enough = _thresholds_by_class(scores["thr"], labels, weights, coverage)
    own, overall = (
        np.clip(limits, LEAST_THR, LARGEST_THR)
        for limits in (np.where(enough, by_class, LARGEST_THR), thresholds["thr"])
    )
    thresholds["interp_q"] = OWN_PART * own + (1 - OWN_PART) * overall
    thresholds["classwise"] = by_class
    return thresholds


def conformal_thresholds(
    scores: Array, sample_weights: Array, class_weights: Array, coverage: float
) -> Array:
    """Return the threshold of each class, given the weight of an image of that class; inf if none.

    Args:
        scores: N scores of true classes.
        sample_weights: [N].
        class_weights: [C].
        coverage: the promised coverage.
    """
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(sample_weights[order])
    total = reached[-1] if len(reached) else 0.0
    needed = coverage * (total + class_weights) * (1 - 1e-12)
    place = np.searchsorted(reached, needed)
    return np.append(scores[order], np.inf)[place]


def _thresholds_by_class(
    scores: Array, labels: Array, weights: Array, coverage: float
) -> tuple[Array, Array]:
    """Return the thresholds of classwise [C], and which classes have enough samples for their own.

    Weights do not matter within a class.
    """
    classes = len(weights)
    counts = np.bincount(labels, minlength=classes)
    enough = np.ceil(np.round((counts + 1) * coverage, 9)) <= counts
    thresholds = np.empty(classes)
    for index in np.flatnonzero(enough):
        own = scores[labels == index]
        thresholds[index] = conformal_thresholds(own, np.ones(len(own)), np.ones(1), coverage)[0]
    rest = ~enough[labels]
    pooled = conformal_thresholds(scores[rest], weights[labels[rest]], weights, coverage)
    return np.where(enough, thresholds, pooled), enough


def _collapsed(thresholds: Array) -> Array:
    """Return one threshold if all classes have the same."""
    return thresholds[:1] if (thresholds == thresholds[0]).all() else thresholds


@dataclass(frozen=True)
class LabelledWeights:
    """The labels of N samples with B rows of weights [B, N], in the order of the classes.

    Attributes:
        labels: N class indices.
        weights: [B, N].
        order: the samples by class.
        sorted_weights: the weights in this order.
        present: the classes that have samples.
        starts: where each of them starts in the order.
        support: summed weights of each of them, [B, present].
    """

    labels: Array
    weights: Array
    order: Array
    sorted_weights: Array
    present: Array
    starts: Array
    support: Array

    @classmethod
    def of(cls, labels: Array, weights: Array) -> "LabelledWeights":
        """Sort the samples by class."""
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        by_class = weights[:, order]
        support = np.add.reduceat(by_class, starts, axis=1)
        return cls(labels, weights, order, by_class, present, starts, support)

    def mean(self, values: Array) -> Array:
        """Return the weighted mean of N values, [B]."""
        return self.weights @ values / self.weights.sum(axis=1)

    def mean_by_class(self, values: Array) -> Array:
        """Return the weighted mean of N values in each class with samples; NaN without weight."""
        summed = np.add.reduceat(self.sorted_weights * values[self.order], self.starts, axis=1)
        out = np.full(summed.shape, np.nan)
        return np.divide(summed, self.support, out=out, where=self.support > 0)


def measure_sets(
    hit: Array, size: Array, samples: LabelledWeights, tail: Array, coverage: float
) -> dict[str, Array]:
    """Return coverage, macro_coverage, tail_coverage, below_half and size for B rows of weights.

    below_half is the share of the classes whose coverage is less than half of what was asked for.
    A class without samples is left out.

    Args:
        hit: whether the set of each sample holds its class, boolean [N].
        size: the number of classes in each set, [N].
        samples: labels and weights.
        tail: boolean mask [C] of the few-shot classes.
        coverage: the coverage that was asked for.
    """
    of_class = samples.mean_by_class(hit.astype(float))
    below = np.where(np.isnan(of_class), np.nan, of_class < coverage / 2)
    return {
        "coverage": samples.mean(hit.astype(float)),
        "macro_coverage": nanmean(of_class),
        "tail_coverage": nanmean(of_class[:, tail[samples.present]]),
        "below_half": nanmean(below),
        "size": samples.mean(size.astype(float)),
    }
