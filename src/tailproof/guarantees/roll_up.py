"""The roll-up: an answer at the finest rank that is certain enough for a promised precision.

The probability of a class of a coarser rank is the sum over its target classes. Ranks are fitted
from the finest to the coarsest: each on the samples that no finer rank answers, with an equal part
of 1 − confidence. Of the answers at each rank, at least the precision is right; so it is of all
answers together. An answer at a rank where the true class has no ancestor counts as wrong.

A sample that is left over for a coarser rank has not decided the threshold of a finer one, except
that tests below that threshold failed. Those had too many errors, so what is left over errs at
least as often as new images do, and the promise stays on the safe side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailproof.evaluation.weighted_samples import sum_by_class
from tailproof.guarantees.binomial_threshold import Fit, fit_threshold
from tailproof.guarantees.risk import answered_above

Array = np.ndarray
NONE = -1
"""The index of the rank where nothing is answered."""


@dataclass(frozen=True)
class Rank:
    """A rank that can be answered.

    Attributes:
        name: the rank.
        classes: its class names.
        above: its class above each target class, int [C]; -1 if there is none.
    """

    name: str
    classes: list[str]
    above: Array


@dataclass(frozen=True)
class RankAnswers:
    """The most probable class of a rank for N samples: its index and its summed probability."""

    certainty: Array
    chosen: Array

    @classmethod
    def of(cls, p: Array, rank: Rank) -> "RankAnswers":
        """Sum target probabilities [N, C] over the classes of a rank."""
        known = np.flatnonzero(rank.above >= 0)
        if len(known) == p.shape[1] == len(rank.classes) and (rank.above == known).all():
            summed = p
        else:
            summed = sum_by_class(p[:, known], rank.above[known], len(rank.classes))
        return cls(summed.max(axis=1), summed.argmax(axis=1))


def answers_by_rank(p: Array, ranks: Sequence[Rank]) -> list[RankAnswers]:
    """Return the most probable class at each rank."""
    return [RankAnswers.of(p, rank) for rank in ranks]


class AnswersByRank:
    """Collects `answers_by_rank` from blocks of probabilities."""

    def __init__(self, samples: int, ranks: Sequence[Rank]) -> None:
        self._ranks = ranks
        self.answers = [RankAnswers(np.zeros(samples), np.zeros(samples, int)) for _ in ranks]

    def add(self, rows: slice, log_p: Array, p: Array) -> None:
        """Take some samples."""
        for rank, own in zip(self._ranks, self.answers, strict=True):
            found = RankAnswers.of(p, rank)
            own.certainty[rows], own.chosen[rows] = found.certainty, found.chosen


def wrong_by_rank(answers: Sequence[RankAnswers], labels: Array, ranks: Sequence[Rank]) -> Array:
    """Return whether each rank's class is wrong, boolean [ranks, N]."""
    true = [rank.above[labels] for rank in ranks]
    return np.array([own.chosen != above for own, above in zip(answers, true, strict=True)])


def fit_roll_up(
    answers: Sequence[RankAnswers], wrong: Array, precision: float, confidence: float
) -> list[Fit]:
    """Fit the threshold of each rank.

    Args:
        answers: the answers at each rank, the finest first.
        wrong: whether they are wrong, boolean [ranks, N].
        precision: the smallest share of right answers to promise.
        confidence: the probability with which the promise holds at all ranks at once.
    """
    part = 1 - (1 - confidence) / len(answers)
    left = np.ones(wrong.shape[1], bool)
    fits = []
    for own, mistaken in zip(answers, wrong, strict=True):
        fit = fit_threshold(own.certainty[left], mistaken[left], 1 - precision, part)
        left &= ~answered_above(own.certainty, fit.threshold)
        fits.append(fit)
    return fits


def answer_rank(answers: Sequence[RankAnswers], thresholds: Sequence[float | None]) -> Array:
    """Return the index of the finest rank that answers each sample, [N]; `NONE` if none does."""
    rank = np.full(len(answers[0].certainty), NONE)
    for index, (own, threshold) in enumerate(zip(answers, thresholds, strict=True)):
        rank[(rank == NONE) & answered_above(own.certainty, threshold)] = index
    return rank
