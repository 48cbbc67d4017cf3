"""A promised risk: the largest share of the answers that is wrong, over all or in every group.

The group of an answer is that of the class that it names, because the true class is unknown. In
groups, the promise holds for all of them at once: each has an equal part of 1 − confidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tailproof.evaluation.class_groups import GROUPS
from tailproof.evaluation.weighted_samples import ratio
from tailproof.guarantees.binomial_threshold import Fit, fit_threshold

Array = np.ndarray


@dataclass(frozen=True)
class RiskRule:
    """The thresholds of the largest probability for a promised risk.

    Attributes:
        risk: the promised share.
        overall: the fit over all answers.
        groups: the fit of each group that has classes.
    """

    risk: float
    overall: Fit
    groups: dict[str, Fit]


class Answered(Protocol):
    """The answers for N samples: `Prediction`, or `FitData`."""

    @property
    def confidence(self) -> Array:
        """The largest probability of each."""
        ...

    @property
    def predicted(self) -> Array:
        """The most probable class of each."""
        ...

    @property
    def correct(self) -> Array:
        """Whether it is the true one."""
        ...


def fit_risk(
    prediction: Answered,
    groups: Mapping[str, Array],
    risk: float,
    confidence: float,
    among: Array | slice = slice(None),
) -> RiskRule:
    """Fit the thresholds.

    Args:
        prediction: the answers for N samples.
        groups: {group: boolean mask [C] of its classes}.
        risk: the largest share of wrong answers to promise.
        confidence: the probability with which a promise holds.
        among: boolean mask [N] of the samples that the promise is about.
    """
    certainty, wrong = prediction.confidence[among], ~prediction.correct[among]
    predicted = prediction.predicted[among]
    there = [name for name in GROUPS if groups[name].any()]
    part = 1 - (1 - confidence) / len(there)
    by_group = {}
    for name in there:
        own = groups[name][predicted]
        by_group[name] = fit_threshold(certainty[own], wrong[own], risk, part)
    return RiskRule(risk, fit_threshold(certainty, wrong, risk, confidence), by_group)


def answered_above(certainty: Array, threshold: float | None) -> Array:
    """Return which samples are answered, boolean [N]; none without a threshold."""
    return np.zeros(len(certainty), bool) if threshold is None else certainty > threshold


def measure_answers(answered: Array, wrong: Array, weights: Array) -> dict[str, Array]:
    """Return answered and error for B rows of weights [B, N]; NaN without samples or answers."""
    count, mistakes = weights @ answered, weights @ (answered & wrong)
    return {"answered": ratio(count, weights.sum(axis=1)), "error": ratio(mistakes, count)}
