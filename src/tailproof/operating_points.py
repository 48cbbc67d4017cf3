"""Operating points of a two-class score at very low false-positive rates.

A threshold flags every sample whose score is at least as high, so samples of one score are flagged
together or not at all: a point inside a tie cannot be had and is none. Counts are integers and
are compared as such.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

ONE_IN = {f"tpr_at_fpr_1e-{digits}": 10**digits for digits in (2, 3, 4, 5)}
"""A metric, and one over its false-positive rate: the least negatives that it needs."""

NO_FALSE_POSITIVE = "tpr_at_fpr_0"
SHARES = {f"fpr_at_tpr_{share}": Fraction(share) for share in ("0.5", "0.7", "0.85")}
"""A metric, and the share of the positives that is found."""

POINTS = (*ONE_IN, NO_FALSE_POSITIVE, *SHARES)


@dataclass(frozen=True)
class ScoreCurve:
    """What each threshold flags, in B resamples of N samples; T thresholds from the highest.

    Attributes:
        thresholds: T different scores, falling.
        true_positives: integers [B, 1 + T]; column 0 flags nothing.
        false_positives: the same.
    """

    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> "ScoreCurve":
        """Count along falling scores.

        Args:
            scores: N numbers, larger for what is more likely positive.
            positive: N booleans.
            counts: integers [B, N], how often each resample holds each sample.
        """
        order = np.argsort(-scores, kind="stable")
        scores, positive = scores[order], positive[order]
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        ordered = counts[:, order].astype(np.int64)
        flagged = ordered.cumsum(axis=1)[:, ends]
        found = (ordered * positive).cumsum(axis=1)[:, ends]
        nothing = np.zeros((len(counts), 1), np.int64)
        true, false = (np.hstack([nothing, each]) for each in (found, flagged - found))
        return cls(scores[ends], true, false)

    @property
    def positives(self) -> np.ndarray:
        """Positives in each resample, [B]."""
        return self.true_positives[:, -1]

    @property
    def negatives(self) -> np.ndarray:
        """Negatives in each resample, [B]."""
        return self.false_positives[:, -1]

    def column(self, name: str) -> np.ndarray:
        """Return where a metric of `POINTS` is had, columns [B].

        It is the last column that keeps to the false-positive rate, or the first that finds the
        share of the positives.
        """
        if name in SHARES:
            share = SHARES[name]
            wanted = share.numerator * self.positives[:, None]
            return (self.true_positives * share.denominator < wanted).sum(axis=1)
        if name == NO_FALSE_POSITIVE:
            return (self.false_positives == 0).sum(axis=1) - 1
        allowed = self.false_positives * ONE_IN[name] <= self.negatives[:, None]
        return allowed.sum(axis=1) - 1

    def value(self, name: str) -> np.ndarray:
        """Return a metric of `POINTS` in each resample, [B]; NaN where a class is absent."""
        counted, total = (
            (self.false_positives, self.negatives)
            if name in SHARES
            else (self.true_positives, self.positives)
        )
        at = np.take_along_axis(counted, self.column(name)[:, None], axis=1)[:, 0]
        both = (self.positives > 0) & (self.negatives > 0)
        return np.where(both, at / np.maximum(total, 1), np.nan)

    def auroc(self) -> np.ndarray:
        """Return how often a positive scores above a negative, [B]; ties count half."""
        steps = np.diff(self.false_positives, axis=1)
        twice = (steps * (self.true_positives[:, 1:] + self.true_positives[:, :-1])).sum(axis=1)
        pairs = self.positives * self.negatives
        return np.where(pairs > 0, twice / np.maximum(2 * pairs, 1), np.nan)


def enough_negatives(name: str, negatives: int) -> bool:
    """Tell whether so many negatives can show the false-positive rate that a metric names."""
    return negatives >= ONE_IN.get(name, 1)


def epoch_points(scores: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Return AUROC and every metric of `POINTS` that the samples can show; {} without both classes.

    Args:
        scores: N numbers, larger for what is more likely positive.
        positive: N booleans.
    """
    if positive.all() or not positive.any():
        return {}
    curve = ScoreCurve.of(scores, positive, np.ones((1, len(scores)), np.uint8))
    negatives = int(curve.negatives[0])
    shown = [name for name in POINTS if enough_negatives(name, negatives)]
    values = {name: float(curve.value(name)[0]) for name in shown}
    return {"val_auroc": float(curve.auroc()[0]), **values}
