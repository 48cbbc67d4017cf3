"""Detectors of scores that fail where false positives must be rare."""

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.finding_ids import certainty
from tailproof.diagnosis.history import History
from tailproof.diagnosis.patches import soften, stop_early
from tailproof.monitors import MONITORS

HELD = 0.03
"""What AUROC may lose and still stand."""


def score_collapse(history: History, context: Context) -> list[Finding]:
    """Tell of a true-positive rate at few false positives that vanishes while AUROC stands."""
    collapsed = [
        (curve, drop)
        for name in sorted(history.metrics)
        if name.startswith("tpr_at_fpr_") and (drop := _drop(curve := history.curve(name)))
    ]
    auroc = history.curve("val_auroc")
    if not collapsed or (len(auroc) and auroc.best_level - auroc.tail > HELD):
        return []
    curve, drop = min(collapsed, key=lambda each: each[1])
    best = int(curve.epochs[curve.best])
    values = {each.name: [each.values.max(), each.values[-1]] for each, _ in collapsed}
    words = (
        f"while AUROC stays at {auroc.tail:.3f}"
        if len(auroc)
        else "a ranking that may still look good by AUROC"
    )
    start = int(curve.epochs[drop])
    return [
        Finding(
            "score_collapse",
            f"Scores collapse at low false-positive rates from epoch {start} on: "
            f"{curve.name} falls from {curve.values[drop - 1]:.3g} to {curve.values[drop]:.3g}, "
            f"{words}.",
            "error",
            (start, history.last),
            {
                "best_and_last": values,
                "collapsed_at": {each.name: int(each.epochs[at]) for each, at in collapsed},
                "val_auroc": auroc.tail if len(auroc) else None,
                "best_epoch": best,
                "noise": curve.noise,
                "effect_in_noise": (curve.values.max() - curve.values[-1]) / curve.noise,
            },
            0.97 if len(auroc) else 0.9,
            {"epochs_wasted": history.last - best, "points_lost": curve.lost},
            soften(context)
            | stop_early(history, context)
            | ({"monitor": curve.name} if curve.name in MONITORS else {}),
            "the epoch before the collapse is kept, and scores keep more than two values",
        )
    ]


def nearly_binary_scores(history: History, context: Context) -> list[Finding]:
    """Tell of false-positive rates that are the same at several true-positive rates.

    Then no threshold lies between them: most positives share one score with those negatives.
    """
    curves = [
        history.columns[name] for name in sorted(history.metrics) if name.startswith("fpr_at_tpr_")
    ]
    if len(curves) < 2:
        return []
    values = np.stack(curves)
    known = np.isfinite(values).all(axis=0)
    positive = values[np.isfinite(values) & (values > 0)]
    if not known.any() or not len(positive):
        return []
    least = 5 * positive.min()
    equal = known & (np.ptp(np.where(known, values, 0), axis=0) <= 1e-9) & (values[0] > 0)
    empty = _no_lower_point(history, values[0])
    clear = equal & ((values[0] >= least) | empty)
    needed = 1 if (len(curves) >= 3 and (empty & equal).any()) else 2
    if clear.sum() < needed or not clear[np.flatnonzero(known)[-1]]:
        return []
    epochs = tuple(int(epoch) for epoch in history.epochs[clear])
    value = float(values[0][clear][-1])
    return [
        Finding(
            "nearly_binary_scores",
            f"Scores are nearly binary: {len(curves)} true-positive rates have one false-positive "
            f"rate, {value:.2g}.",
            "warning",
            epochs,
            {"fpr": value, "true_positive_rates": len(curves), "epochs": list(epochs)},
            certainty(len(epochs), 0.7),
            {},
            soften(context),
            "thresholds choose between false-positive rates again",
        )
    ]


def _drop(curve: Curve) -> int | None:
    """Return the index from which on the curve stays under a quarter of its best, or None."""
    if len(curve) < 3 or curve.values.max() < 0.1:
        return None
    low = curve.values < 0.25 * curve.values.max()
    if not low[-1]:
        return None
    start = len(low) - int(np.argmin(low[::-1]))
    before = curve.values[:start]
    clear = len(before) > 0 and before.max() - curve.values[start:].max() > 5 * min(
        curve.noise, 0.1
    )
    return start if clear and curve.best < start else None


def _no_lower_point(history: History, rate: np.ndarray) -> np.ndarray:
    """Tell by epoch whether nothing is found at any measured false-positive rate below `rate`."""
    found = np.zeros(len(history.epochs), dtype=bool)
    nothing = np.ones(len(history.epochs), dtype=bool)
    for name in history.metrics:
        if name.startswith("tpr_at_fpr_"):
            below = float(name.removeprefix("tpr_at_fpr_")) < rate
            found |= below & np.isfinite(history.columns[name])
            nothing &= ~below | ~(history.columns[name] > 0.01)
    return found & nothing
