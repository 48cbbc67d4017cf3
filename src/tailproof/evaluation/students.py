"""How far a student gets from the best expert to the ensemble that it learns from."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tailproof.config.evaluation import STACKED
from tailproof.evaluation import bootstrap
from tailproof.evaluation.method import Method

CHOSEN_ON = "dev"
COMPARED = ("balanced_accuracy", "top1")
"""Metrics of which the distance is measured; the first one chooses the best expert."""


def measure_students(
    methods: Mapping[str, Method], students: Collection[str], split: str
) -> dict[str, dict[str, Any]]:
    """Return ``{student: values}`` on a split, with paired bootstrap intervals.

    The values are `best_expert`, the best on dev of those that the ensemble combines, and for each
    metric of `COMPARED`, with s, b and e for student, best expert and ensemble: `gained` s − b,
    `missing` e − s, `distance` e − b, `beyond_half` s − (b + e) / 2, and `share` (s − b) / (e − b).
    Whether a student closes half of the distance is the sign of `beyond_half`, whose interval is
    that of a difference. `share` is None unless the distance is certain to be above zero, because
    the interval of a ratio means nothing otherwise; a resample without a distance has none.

    Args:
        methods: the methods by name, measured on dev and the split.
        students: names of the students.
        split: dev or test.
    """
    taught = [
        method
        for method in methods.values()
        if method.kind == "expert" and method.name not in students
    ]
    best = max(taught, key=lambda method: _mean(method, CHOSEN_ON, COMPARED[0])[0])
    result: dict[str, dict[str, Any]] = {}
    for name in students:
        result[name] = {"best_expert": best.name, "ensemble": STACKED}
        for metric in COMPARED:
            values = [_mean(own, split, metric) for own in (best, methods[name], methods[STACKED])]
            result[name][metric] = _compare(*values)
    return result


def _mean(method: Method, split: str, metric: str) -> np.ndarray:
    """Return the mean over seeds in each resample, [1 + B]."""
    return np.mean(method.values[split][metric], axis=0)


def _compare(expert: np.ndarray, student: np.ndarray, ensemble: np.ndarray) -> dict[str, Any]:
    distance, distances = bootstrap.difference([ensemble], [expert]), ensemble - expert
    certain = distance["low"] is not None and distance["low"] > 0
    share = np.full(len(distances), np.nan)
    np.divide(student - expert, distances, out=share, where=distances > 0)
    return {
        "gained": bootstrap.difference([student], [expert]),
        "missing": bootstrap.difference([ensemble], [student]),
        "distance": distance,
        "beyond_half": bootstrap.difference([student], [(expert + ensemble) / 2]),
        "share": bootstrap.interval(share) if certain else None,
    }
