"""Counts of flagged samples per threshold, and the operating points among them.

A threshold flags every sample whose score is at least as high, so samples with equal scores are
flagged together or not at all: a point inside a tie is not an operating point. Counts are compared
as integers.
"""

from dataclasses import dataclass

import numpy as np

from tailproof.operating_points import (
    NO_FALSE_POSITIVE,
    ONE_IN,
    POINTS,
    SHARES,
    enough_negatives,
)


@dataclass(frozen=True)
class ScoreCurve:
    """Counts of flagged samples per threshold, in B resamples of N samples.

    Attributes:
        thresholds: T distinct scores, decreasing.
        true_positives: integers [B, 1 + T]; at column 0 nothing is flagged.
        false_positives: likewise.
    """

    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> "ScoreCurve":
        """Build the curve by counting in order of decreasing score.

        Args:
            scores: N numbers; higher means more likely positive.
            positive: N booleans.
            counts: integers [B, N], how often each resample contains each sample.
        """
        order = np.argsort(-scores, kind="stable")
        scores, positive = scores[order], positive[order]
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        ordered = counts[:, order].astype(np.int64)
        flagged = ordered.cumsum(axis=1)[:, ends]
        flagged_positive = (ordered * positive).cumsum(axis=1)[:, ends]
        nothing = np.zeros((len(counts), 1), np.int64)
        true, false = (
            np.hstack([nothing, flags]) for flags in (flagged_positive, flagged - flagged_positive)
        )
        return cls(scores[ends], true, false)

    @property
    def positives(self) -> np.ndarray:
        """The number of positives in each resample, [B]."""
        return self.true_positives[:, -1]

    @property
    def negatives(self) -> np.ndarray:
        """The number of negatives in each resample, [B]."""
        return self.false_positives[:, -1]

    def column(self, name: str) -> np.ndarray:
        """Return the column [B] at which a metric of `POINTS` is evaluated.

        It is the last column within the false-positive rate, or the first one that reaches the
        true-positive rate.
        """
        if name in SHARES:
            share = SHARES[name]
            required = share.numerator * self.positives[:, None]
            return (self.true_positives * share.denominator < required).sum(axis=1)
        if name == NO_FALSE_POSITIVE:
            return (self.false_positives == 0).sum(axis=1) - 1
        allowed = self.false_positives * ONE_IN[name] <= self.negatives[:, None]
        return allowed.sum(axis=1) - 1

    def value(self, name: str) -> np.ndarray:
        """Return a metric of `POINTS` in each resample, [B]; NaN if a class is absent."""
        counted, total = (
            (self.false_positives, self.negatives)
            if name in SHARES
            else (self.true_positives, self.positives)
        )
        at = np.take_along_axis(counted, self.column(name)[:, None], axis=1)[:, 0]
        both = (self.positives > 0) & (self.negatives > 0)
        return np.where(both, at / np.maximum(total, 1), np.nan)

    def auroc(self) -> np.ndarray:
        """Return the probability that a positive scores above a negative, [B]; ties count half."""
        steps = np.diff(self.false_positives, axis=1)
        twice = (steps * (self.true_positives[:, 1:] + self.true_positives[:, :-1])).sum(axis=1)
        pairs = self.positives * self.negatives
        return np.where(pairs > 0, twice / np.maximum(2 * pairs, 1), np.nan)


def epoch_points(scores: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Return AUROC and each metric of `POINTS` with enough negatives; {} without both classes.

    Args:
        scores: N numbers; higher means more likely positive.
        positive: N booleans.
    """
    if positive.all() or not positive.any():
        return {}
    curve = ScoreCurve.of(scores, positive, np.ones((1, len(scores)), np.uint8))
    negatives = int(curve.negatives[0])
    shown = [name for name in POINTS if enough_negatives(name, negatives)]
    values = {name: float(curve.value(name)[0]) for name in shown}
    return {"val_auroc": float(curve.auroc()[0]), **values}
