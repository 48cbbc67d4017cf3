"""Scores two heads on the same samples, with the paired interval of the difference."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tailproof.config.evaluation import Evaluation
from tailproof.evaluation import bootstrap
from tailproof.evaluation.metrics import measure_named
from tailproof.evaluation.probabilities import Prediction
from tailproof.evaluation.task import Task

DECIDES = "balanced_accuracy"
"""The metric of the verdict, by which the report chooses methods too."""

SCORED = (DECIDES, "top1", "few_accuracy")


def compare_heads(
    logits: Mapping[str, np.ndarray], labels: np.ndarray, split: str, task: Task, config: Evaluation
) -> dict[str, dict[str, Any]]:
    """Score two heads on the samples of a split.

    Args:
        logits: those of `old` and `new`, [N, C] each.
        labels: N class indices.
        split: the name of the split, whose resamples are those of the stage evaluate.
        task: classes and groups of classes.
        config: the configuration of the bootstrap.

    Returns:
        {metric: {old, new: an interval, difference: new minus old}}.
    """
    counts = bootstrap.resamples(len(labels), config.bootstrap, config.seed, split)
    values = {
        name: measure_named(Prediction.from_logits(of_head, labels), counts, task, SCORED)
        for name, of_head in logits.items()
    }
    return {
        metric: {
            **{name: bootstrap.interval(of_head[metric]) for name, of_head in values.items()},
            "difference": bootstrap.difference([values["new"][metric]], [values["old"][metric]]),
        }
        for metric in SCORED
    }


def verdict(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a sentence that says whether the new head differs from the old one beyond noise."""
    difference = scores[DECIDES]["difference"]
    low, high = difference["low"], difference["high"]
    if low is None:
        return (
            "It cannot be determined whether the new head is better, because a score is undefined."
        )
    if low <= 0 <= high:
        return "The difference is within noise: these samples do not show that a head is better."
    better = "better" if low > 0 else "worse"
    return f"The new head is {better}: its balanced accuracy differs beyond noise."
