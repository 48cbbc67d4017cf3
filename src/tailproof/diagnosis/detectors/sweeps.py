"""Comparisons of the points of a sweep."""

import re
from typing import Any

import numpy as np

from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.registry import comparison
from tailproof.diagnosis.run_set import RunSet, noise_of_runs

POINTS = 4
"""Fewer runs than this are not a sweep."""
REGULARISATION = re.compile(
    r"weight_decay|drop(?!_last)|label_smoothing|mixup|cutmix|cutout|augmentation\.noise"
)


@comparison("sweep_ceiling")
def sweep_ceiling(runs: RunSet) -> list[Finding]:
    """Find a sweep whose points all miss the target by as much, or all end at the same value."""
    points = runs.compared
    if len(points) < POINTS or not runs.varied():
        return []
    values = runs.sign * np.array([run.best for run in points])
    best, spread = points[int(values.argmax())], float(np.ptp(values))
    noise = noise_of_runs(points)
    if runs.target is not None:
        short = float(runs.sign * runs.target - values.max())
        if short < max(spread, 0.02):
            return []
        words = f", {100 * short:.0f} points short of {runs.target:g}"
        if runs.sign < 0:
            words = f", at least {_amount(best.metric, short)} above {runs.target:g}"
    elif noise and spread < 3 * noise:
        short, words = 0.0, ", which is within the noise between epochs"
    else:
        return []
    low, high = sorted((float(runs.sign * values.min()), float(runs.sign * values.max())))
    return [
        Finding(
            "sweep_ceiling",
            f"All {len(points)} points lie between {low:.3f} and {high:.3f}{words}: the settings "
            "of the sweep are not the limit.",
            "warning",
            (),
            {
                "metric": best.metric,
                "best": best.name,
                "lowest": low,
                "highest": high,
                "spread": spread,
                "target": runs.target,
                "noise": noise,
                "varied": list(runs.varied()),
            },
            certainty(short, spread) if short else 0.7,
            _cost(best.metric, short) if short else {},
            None,
            "other data, labels, models or image sizes move all points; these settings do not",
        )
    ]


@comparison("costly_regularisation")
def costly_regularisation(runs: RunSet) -> list[Finding]:
    """Find a setting that narrows the gap and lowers val, more so the stronger it is."""
    points = [run for run in runs.compared if run.train is not None]
    measured = RunSet(points)
    if len(points) < POINTS:
        return []
    values = runs.sign * np.array([run.best for run in points])
    train = runs.sign * np.array([run.train for run in points])
    costs = []
    for key, settings in measured.varied().items():
        if not REGULARISATION.search(key):
            continue
        cost = float(
            values[settings == settings.min()].mean() - values[settings == settings.max()].mean()
        )
        falling, narrowing = -_rank(settings, values), -_rank(settings, train)
        if (
            falling >= 0.7
            and narrowing >= 0.5
            and cost > max(0.01, 2 * (noise_of_runs(points) or 0))
        ):
            costs.append((cost, falling, narrowing, key, settings))
    if not costs:
        return []
    cost, falling, narrowing, key, settings = max(costs, key=lambda entry: entry[0])
    first, *rest = reversed(key.split("."))
    change: dict[str, Any] = {first: float(settings.min())}
    for part in rest:
        change = {part: change}
    best = points[int(values.argmax())]
    falls, more = ("falls", "more") if runs.sign > 0 else ("rises", "less")
    amount = _amount(best.metric, cost)
    return [
        Finding(
            "costly_regularisation",
            f"{key} costs more than it gains: from {settings.min():g} to {settings.max():g} the "
            f"gap narrows and {best.metric} {falls} by {amount}.",
            "warning",
            (),
            {
                "setting": key,
                "values": sorted(set(settings.tolist())),
                "best": best.name,
                "rank_correlation_val": -falling,
                "rank_correlation_train": -narrowing,
                "noise": noise_of_runs(points),
            },
            certainty(falling, 0.5),
            _cost(best.metric, cost),
            change,
            f"about {amount} {more} than with the strongest {first}",
        )
    ]


@comparison("overconfidence")
def loss_before_accuracy(runs: RunSet) -> list[Finding]:
    """Find points whose validation loss is lowest long before their accuracy is highest."""
    measured = [
        (run, run.val_loss_epoch, run.best_epoch, run.epochs)
        for run in runs.compared
        if run.val_loss_epoch is not None
        and run.best_epoch is not None
        and "loss" not in run.metric
        and run.epochs
    ]
    early = [lowest for _, lowest, best, _ in measured if lowest < 0.75 * best]
    if len(measured) < POINTS or len(early) < 0.8 * len(measured) or not runs.varied():
        return []
    first, _, _, epochs = measured[0]
    lowest = [epoch for _, epoch, _, _ in measured]
    best = [epoch for _, _, epoch, _ in measured]
    return [
        Finding(
            "overconfidence",
            f"In all points, val loss is lowest at epochs {min(lowest)} to {max(lowest)} and "
            f"{first.metric} highest at {min(best)} to {max(best)} of {epochs}: "
            "stopping at the lowest loss saves epochs but costs accuracy.",
            "info",
            (min(lowest), max(lowest)),
            {"val_loss_epochs": lowest, "best_epochs": best, "points": len(measured)},
            certainty(len(early) / len(measured), 0.6),
            {"epochs_wasted": float(epochs - np.median(lowest))},
            {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}},
            "val loss stays near its minimum at the same accuracy",
        )
    ]


def _amount(metric: str, difference: float) -> str:
    """Return a difference of a metric in words: rates differ by points, losses by their values."""
    return f"{difference:.3g}" if "loss" in metric else f"{100 * difference:.1f} points"


def _cost(metric: str, difference: float) -> dict[str, float]:
    return {metric if "loss" in metric else "points_lost": difference}


def _rank(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation; 0 where one of them is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
