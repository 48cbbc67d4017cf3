"""Decides whether the values of each rate are shares or percentages.

A value above one is a percentage. Values that never exceed one are decided by what the name says,
by whose file it is, and by related columns: the same metric of the other split, and top-5 next to
top-1.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tailproof.diagnosis.column_aliases import RATES, is_metric
from tailproof.diagnosis.readers.families import Family

if TYPE_CHECKING:
    from tailproof.diagnosis.readers.columns import Column

_ROUNDING = 1.001
"""A share may exceed one by rounding."""
_NEAR, _FAR = math.log(2), math.log(10)
_GUESSING = 4.0
"""A loss above this that does not move is that of guessing among many classes."""
_ACCURACIES = ("accuracy", "top5_accuracy")


def decide_units(
    columns: "list[Column]",
    numbers: dict[str, list[float]],
    percent_signs: dict[str, bool],
    units_in_names: dict[str, str],
    family: Family,
) -> "list[Column]":
    """Return the columns with the unit of every rate.

    A column whose unit cannot be decided, or that is no rate at all, is passed over.

    Args:
        columns: what the columns are.
        numbers: the values by the name of the column.
        percent_signs: whether the cells have percent signs.
        units_in_names: the unit that the name says.
        family: whose file it is.
    """
    values = {c.name: np.array([v for v in numbers[c.name] if math.isfinite(v)]) for c in columns}
    decided: dict[str, tuple[str | None, str]] = {}
    rates = [c for c in columns if is_metric(c.read_as) and RATES.search(c.read_as)]
    for column in rates:
        decided[column.name] = _by_itself(
            column, values[column.name], percent_signs[column.name],
            units_in_names.get(column.name, ""),
        )  # fmt: skip
    percent = {c.read_as: values[c.name] for c in rates if decided[c.name][0] == "percent"}
    losses = [values[c.name] for c in columns if c.read_as in ("train_loss", "val_loss")]
    for column in rates:
        if decided[column.name][0] is None:
            decided[column.name] = _by_others(column, values[column.name], percent, losses, family)
    return [
        _with_unit(column, *decided[column.name]) if column.name in decided else column
        for column in columns
    ]


def _with_unit(column: "Column", unit: str | None, reason: str) -> "Column":
    if not unit:
        return replace(column, read_as="", why=reason, judged=False)
    reasons = [text for text in (column.why, reason) if text]
    return replace(column, unit=unit, why="; ".join(dict.fromkeys(reasons)))


def _by_itself(
    column: "Column", values: np.ndarray, sign: bool, in_name: str
) -> tuple[str | None, str]:
    """Return unit and reason from the column alone; None if others must decide."""
    largest = float(np.abs(values).max()) if len(values) else 0.0
    if column.unit:
        return column.unit, ""
    if sign or in_name:
        return "percent", ""
    if largest > 100 * _ROUNDING:
        return "", f"up to {largest:.4g}, which is not a rate"
    if largest > _ROUNDING:
        return "percent", ""
    if largest == 0:
        return "share", ""
    return None, ""


def _by_others(
    column: "Column",
    values: np.ndarray,
    percent: dict[str, np.ndarray],
    losses: list[np.ndarray],
    family: Family,
) -> tuple[str, str]:
    """Return unit and reason of a column that never exceeds one."""
    part, _, metric = column.read_as.partition("_")
    if family.unit == "share" or column.name in family.shares:
        return "share", ""
    if family.unit == "percent" and metric in _ACCURACIES:
        return "percent", f"{family.name} writes accuracies in percent"
    top5 = percent.get(f"{part}_top5_accuracy")
    if metric == "accuracy" and top5 is not None and np.median(values) > np.median(top5) / 100:
        return "percent", "as a share it would exceed the top-5 accuracy"
    other = "val" if part == "train" else "train"
    related = percent.get(f"{other}_{metric}")
    if related is None and metric in _ACCURACIES:
        related = percent.get(f"{part}_{'top5_accuracy' if metric == 'accuracy' else 'accuracy'}")
    if related is not None:
        return _by_related(column, values, related)
    if metric == "accuracy" and _is_guessing(values, losses):
        return "", _ask(column)
    return "share", ""


def _by_related(column: "Column", values: np.ndarray, related: np.ndarray) -> tuple[str, str]:
    """Compare the first third of a column, in both units, with that of a related percentage."""
    level, reference = (float(np.median(v[: max(len(v) // 3, 1)])) for v in (values, related))
    if level <= 0 or reference <= 0:
        return "percent", "a related column is in percent"
    as_share = abs(math.log(100 * level / reference))
    as_percent = abs(math.log(level / reference))
    if as_share <= _NEAR and as_percent >= _FAR:
        return "share", "a related column is in percent, but the values fit only as a share"
    if as_share >= _FAR or as_percent < as_share:
        return "percent", "a related column is in percent"
    return "", _ask(column)


def _ask(column: "Column") -> str:
    choice = f"--columns '{column.read_as}={column.name}:percent' or ':share'"
    return f"percent or share: decide with {choice}"


def _is_guessing(values: np.ndarray, losses: list[np.ndarray]) -> bool:
    """Return whether losses never leave that of guessing, and the values fit in percent only."""
    flat = [loss for loss in losses if len(loss) and np.ptp(loss) < 0.05 * loss.min()]
    if not losses or len(flat) < len(losses) or min(loss.min() for loss in losses) < _GUESSING:
        return False
    chance = math.exp(-min(loss.min() for loss in losses))
    level = float(np.median(values))
    return chance / 3 <= level / 100 <= 3 * chance
