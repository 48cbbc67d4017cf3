"""Chooses a fitted calibrator by its NLL on the split tune, and checks that it does no harm."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from tailproof.calibration.calibrator import Calibrator
from tailproof.calibration.class_weights import sample_weights
from tailproof.calibration.metrics import ece_debiased, log_probabilities, nll
from tailproof.config.calibration import Weighting

REPLICATES, BLOCKS = 1000, 20
INTERVAL = (0.025, 0.975)


Kind = TypeVar("Kind", bound=str)


def choose(
    candidates: Mapping[Kind, Calibrator],
    logits: np.ndarray,
    labels: np.ndarray,
    weighting: Weighting,
) -> tuple[Kind, dict[Kind, Any]]:
    """Return the chosen kind, and what every candidate reaches.

    The first candidate is chosen unless another has a lower NLL, with a 95 % interval of the paired
    difference below zero, and no lower balanced accuracy, with an interval below zero. Of those
    that pass, the one with the lowest NLL is chosen. A vector or matrix can move classes, so it
    can lower the NLL at the expense of the rare ones; the second condition prevents that.

    Args:
        candidates: the calibrators by kind, the first one first.
        logits: raw logits [N, C] of samples that none of them was fitted on.
        labels: N class indices.
        weighting: the weight of each sample in the NLL; all count equally with like_tune, because
            these are samples of tune.

    Returns:
        The kind, and for each kind its nll and balanced_accuracy; for all but the first also
        nll_difference and balanced_accuracy_difference from the first: value, low, high.
    """
    first, *others = candidates
    if not len(labels):
        return first, {}
    weights = sample_weights(labels, weighting, labels)
    in_class = np.eye(logits.shape[1])[labels]
    losses, hits = {}, {}
    for kind, calibrator in candidates.items():
        log_p = log_probabilities(calibrator.apply(logits))
        losses[kind] = -log_p[np.arange(len(labels)), labels]
        hits[kind] = (log_p.argmax(axis=1) == labels).astype(float)
    reached: dict[Kind, dict[str, Any]] = {
        kind: {**_reached(losses[kind], hits[kind], weights, in_class)} for kind in candidates
    }
    rows = _resamples(len(labels))
    chosen = first
    for kind in others:
        nll = _difference(losses[kind] - losses[first], rows, weights)
        accuracy = _class_mean(hits[kind] - hits[first], rows, in_class)
        reached[kind] |= {
            "nll_difference": _interval(nll),
            "balanced_accuracy_difference": _interval(accuracy),
        }
        better = reached[kind]["nll_difference"]["high"] < 0
        worse = reached[kind]["balanced_accuracy_difference"]["high"] < 0
        if better and not worse and reached[kind]["nll"] < reached[chosen]["nll"]:
            chosen = kind
    return chosen, reached


def check(
    calibrator: Calibrator, logits: np.ndarray, labels: np.ndarray, weighting: Weighting
) -> dict[str, Any] | None:
    """Return what a calibrator changes on samples of tune; None without samples.

    It does harm if the NLL or the debiased ECE is higher than without it, with a 95 % interval of
    the paired difference above zero.

    Args:
        calibrator: the chosen one.
        logits: raw logits [N, C] of samples that it was not fitted on.
        labels: N class indices.
        weighting: as for `choose`.

    Returns:
        nll and ece_debiased, each after minus before: value, low, high; and `harmful`, the names of
        those that are worse beyond their interval.
    """
    if not len(labels):
        return None
    weights = sample_weights(labels, weighting, labels)
    parts: dict[str, list[np.ndarray]] = {"nll": [], "ece_debiased": []}
    both = [log_probabilities(values) for values in (logits, calibrator.apply(logits))]
    for rows in np.array_split(_resamples(len(labels)), BLOCKS):
        weighted = rows * weights
        losses = [nll(log_p, labels, weighted) for log_p in both]
        errors = [ece_debiased(np.exp(log_p), labels, weighted) for log_p in both]
        parts["nll"].append(losses[1] - losses[0])
        parts["ece_debiased"].append(errors[1] - errors[0])
    reached = {name: _interval(np.concatenate(values)) for name, values in parts.items()}
    harmful = [name for name, difference in reached.items() if difference["low"] > 0]
    return {**reached, "harmful": harmful}


def _reached(
    losses: np.ndarray, hits: np.ndarray, weights: np.ndarray, in_class: np.ndarray
) -> dict[str, float]:
    row = np.ones((1, len(losses)))
    return {
        "nll": float(weights @ losses / weights.sum()),
        "balanced_accuracy": float(_class_mean(hits, row, in_class)[0]),
    }


def _resamples(samples: int) -> np.ndarray:
    """Return [1 + B, N]: a row of ones, then bootstrap counts."""
    rng = np.random.default_rng(0)
    rows = np.ones((1 + REPLICATES, samples), np.float32)
    for row in rows[1:]:
        row[:] = np.bincount(rng.integers(samples, size=samples), minlength=samples)
    return rows


def _difference(values: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (rows @ (weights * values)) / (rows @ weights)


def _class_mean(values: np.ndarray, rows: np.ndarray, in_class: np.ndarray) -> np.ndarray:
    """Return the mean over the classes with samples of the mean within the class, per row."""
    support = rows @ in_class
    sums = rows @ (in_class * values[:, None])
    means = np.divide(sums, support, out=np.zeros_like(sums), where=support > 0)
    return means.sum(axis=1) / (support > 0).sum(axis=1)


def _interval(values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values[1:], INTERVAL)
    return {"value": float(values[0]), "low": float(low), "high": float(high)}
