"""Detectors of scores that fail at low false-positive rates."""

from typing import get_args

import numpy as np

from tailproof.config.recipe import Monitor
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.patches import soften, stop_early
from tailproof.diagnosis.registry import detector

HELD = 0.03
"""AUROC may lose this much and still counts as stable."""


@detector("score_collapse")
def score_collapse(history: RunHistory, context: Context) -> list[Finding]:
    """Find a true-positive rate at few false positives that collapses while AUROC is stable."""
    collapsed = [
        (curve, drop)
        for name in sorted(history.metrics)
        if name.startswith("tpr_at_fpr_") and (drop := _drop(curve := history.curve(name)))
    ]
    auroc = history.curve("val_auroc")
    if not collapsed or (len(auroc) and auroc.best_level - auroc.tail > HELD):
        return []
    curve, drop = min(collapsed, key=lambda pair: pair[1])
    best = int(curve.epochs[curve.best])
    values = {rate.name: [rate.values.max(), rate.values[-1]] for rate, _ in collapsed}
    words = (
        f"while AUROC stays at {auroc.tail:.3f}"
        if len(auroc)
        else "although AUROC may still look good"
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
                "collapsed_at": {rate.name: int(rate.epochs[at]) for rate, at in collapsed},
                "val_auroc": auroc.tail if len(auroc) else None,
                "best_epoch": best,
                "noise": curve.noise,
                "effect_in_noise": (curve.values.max() - curve.values[-1]) / curve.noise,
            },
            0.97 if len(auroc) else 0.9,
            {"epochs_wasted": history.last - best, "points_lost": curve.lost},
            soften(context)
            | stop_early(history, context)
            | ({"monitor": curve.name} if curve.name in get_args(Monitor) else {}),
            "the epoch before the collapse is exported, and scores take more than two values",
        )
    ]


@detector("nearly_binary_scores")
def nearly_binary_scores(history: RunHistory, context: Context) -> list[Finding]:
    """Find false-positive rates that are equal at several true-positive rates.

    Then no threshold lies between them: most positives and those negatives have the same score.
    """
    curves = [
        history.columns[name] for name in sorted(history.metrics) if name.startswith("fpr_at_tpr_")
    ]
    if len(curves) < 2:
        return []
    values = np.stack(curves)
    complete = np.isfinite(values).all(axis=0)
    positive = values[np.isfinite(values) & (values > 0)]
    if not complete.any() or not len(positive):
        return []
    least = 5 * positive.min()
    equal = complete & (np.ptp(np.where(complete, values, 0), axis=0) <= 1e-9) & (values[0] > 0)
    empty = _no_lower_point(history, values[0])
    clear = equal & ((values[0] >= least) | empty)
    needed = 1 if (len(curves) >= 3 and (empty & equal).any()) else 2
    if clear.sum() < needed or not clear[np.flatnonzero(complete)[-1]]:
        return []
    epochs = tuple(int(epoch) for epoch in history.epochs[clear])
    value = float(values[0][clear][-1])
    return [
        Finding(
            "nearly_binary_scores",
            f"Scores are nearly binary: {len(curves)} true-positive rates have the same "
            f"false-positive rate, {value:.2g}.",
            "warning",
            epochs,
            {"fpr": value, "true_positive_rates": len(curves), "epochs": list(epochs)},
            certainty(len(epochs), 0.7),
            {},
            soften(context),
            "different thresholds give different false-positive rates again",
        )
    ]


def _drop(curve: Curve) -> int | None:
    """Return the index from which the curve stays below a quarter of its best, or None."""
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


def _no_lower_point(history: RunHistory, rate: np.ndarray) -> np.ndarray:
    """Return by epoch whether every measured true-positive rate below `rate` is zero."""
    measured = np.zeros(len(history.epochs), dtype=bool)
    nothing = np.ones(len(history.epochs), dtype=bool)
    for name in history.metrics:
        if name.startswith("tpr_at_fpr_"):
            below = float(name.removeprefix("tpr_at_fpr_")) < rate
            measured |= below & np.isfinite(history.columns[name])
            nothing &= ~below | ~(history.columns[name] > 0.01)
    return measured & nothing
