"""Checks what an expert's folder says of its training against each other and against its logits."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.data.logits import LogitsFile
from tailproof.evaluation.probabilities import of_rank
from tailproof.history import History
from tailproof.monitors import direction
from tailproof.text import quantity

SAME_NUMBER = 1e-5  # relative; history.csv has eight digits
SAME_ACCURACY = 0.01
"""Share of images that a network may answer otherwise outside of training, besides two of them."""


def other_best(folder: Path, training: dict[str, Any]) -> Iterator[str]:
    """Compare the best epoch and the number of epochs of training.json with history.csv.

    Args:
        folder: of the expert.
        training: the content of training.json.
    """
    history, best = History.read(folder / "history.csv"), training["best"]
    if training["epochs"] != len(history.rows):
        yield (
            f"{folder}/training.json has {quantity(training['epochs'], 'epoch')}, but "
            f"{history.path} has {len(history.rows)}"
        )
    if best["epoch"] is None:
        return
    monitor = best["monitor"]
    value = history.at(best["epoch"]).get(monitor, math.nan)
    if not math.isclose(value, best["value"], rel_tol=SAME_NUMBER):
        yield (
            f"{folder}/training.json: {monitor} of epoch {best['epoch']} is {best['value']:.6g}, "
            f"but {value:.6g} in {history.path}"
        )
    others = [row for row in history.rows if math.isfinite(row.get(monitor, math.nan))]
    sign, slack = direction(monitor), SAME_NUMBER * abs(value)
    if better := [row for row in others if sign * (row[monitor] - value) > slack]:
        yield (
            f"{folder}/training.json: epoch {best['epoch']} is not the best one by {monitor}, "
            f"because epoch {better[0]['epoch']:.0f} of {history.path} is better"
        )


def other_accuracy(folder: Path, recipe: dict[str, Any], logits: Path) -> Iterator[str]:
    """Compare the accuracy on val of the exported epoch with the logits of val.

    Args:
        folder: of the expert.
        recipe: its recipe.
        logits: its raw logits on val.
    """
    history, best = History.read(folder / "history.csv"), None
    if recipe.get("test_views"):
        return  # the logits are means over views, which training does not compute
    if recipe.get("export") == "best":
        best = history.best(recipe["monitor"])
    stated = (best or history.last).get("val_accuracy")
    right = right_answers(LogitsFile.open(logits))
    limit = SAME_ACCURACY + 2 / max(1, len(right))
    if stated is not None and len(right) and abs(stated - right.mean()) > limit:
        yield (
            f"{history.path}: val_accuracy of the exported epoch is {stated:.4g}, but {logits} "
            f"gives {right.mean():.4g}"
        )


def right_answers(logits: LogitsFile) -> np.ndarray:
    """Return whether the largest logit of each sample is that of its class, [N]."""
    target = logits.metadata["target"]
    right = np.zeros(len(logits), bool)
    for rows, block in of_rank(logits, target):
        right[rows] = block.argmax(axis=1) == logits.target[rows]
    return right
