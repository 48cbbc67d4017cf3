"""Compares sweep points: which ones are promoted to the next rung, and which one wins."""

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.config.sweep import values_at
from tailproof.files import atomic, read_json, write_json, write_text
from tailproof.monitors import direction
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.stages import TRAINED
from tailproof.sweep.trial import Trial, read_trial
from tailproof.untrusted_text import csv_line

Histories = Mapping[str, Mapping[int, str | Path]]
"""{trained name: {seed: history.csv or rung.csv}}; a name is a point, or a place of a rung."""


def promote(
    histories: Histories,
    before: str | Path | None,
    points: dict[str, Recipe],
    left: int,
    output: str | Path,
) -> None:
    """Write the points that are promoted after a rung, the best first, with their recipes.

    Args:
        histories: those of all points trained in this rung, in the order of the configuration.
        before: the file that this function wrote after the previous rung; None after the first one.
        points: the recipe of each point.
        left: how many points are promoted.
        output: the file to write.

    Raises:
        TailproofError: a history is missing or damaged.
    """
    monitor = _monitor(points)
    point_of = _point_of_names(list(histories), before)
    trials = {
        point_of[name]: [read_trial(path, monitor) for path in seeds.values()]
        for name, seeds in histories.items()
    }
    places = [
        {"point": name, "value": _mean(trials[name]), "recipe": points[name].result_fields()}
        for name in _ranked(trials, points, monitor)[:left]
    ]
    write_json(output, {"monitor": monitor, "places": places})


def select(
    rounds: Sequence[Histories],
    standings: Sequence[str | Path],
    points: dict[str, Recipe],
    keys: list[str],
    output: str | Path,
) -> dict[str, Any]:
    """Write selection.json and points.csv: the last rung of each point, and the winner.

    The winner has the best monitored value, averaged over seeds, of all points trained in full. If
    several are equal, the first one in the configuration wins.

    Args:
        rounds: the histories of each round; the last was trained in full.
        standings: the files that `promote` wrote after each round but the last.
        points: the recipe of each point.
        keys: the dotted keys of the recipe that the sweep changes.
        output: the folder for both files.

    Returns:
        The content of selection.json.

    Raises:
        TailproofError: a history is missing or damaged, or no point has a finite value.
    """
    monitor = _monitor(points)
    last_rung: dict[str, tuple[int, str, dict[int, Trial]]] = {}
    for rung, (histories, before) in enumerate(zip(rounds, [None, *standings], strict=True), 1):
        for name, point in _point_of_names(list(histories), before).items():
            trials = {seed: read_trial(path, monitor) for seed, path in histories[name].items()}
            last_rung[point] = rung, name, trials
    finalists = {
        name: list(trials.values())
        for name, (rung, _, trials) in last_rung.items()
        if rung == len(rounds)
    }
    winner = _ranked(finalists, points, monitor)[0]
    if _mean(finalists[winner]) is None:
        raise TailproofError(
            f"no point of the sweep has a finite {monitor} in every seed: lower the learning "
            "rates of the points"
        )
    values = {name: values_at(recipe, keys) for name, recipe in points.items()}
    ordered = {name: last_rung[name] for name in points}
    result = {
        "monitor": monitor,
        "rungs": len(rounds),
        "winner": winner,
        "expert": last_rung[winner][1],
        "points": [
            {"point": name, "rung": rung, "values": values[name], **_over_seeds(trials)}
            for name, (rung, _, trials) in ordered.items()
        ],
    }
    write_json(Path(output) / "selection.json", result)
    _write_table(Path(output) / "points.csv", ordered, values)
    return result


def adopt(selection: str | Path, folder: str | Path, seed: int, output: str | Path) -> None:
    """Copy the trained expert of the winner.

    Args:
        selection: selection.json.
        folder: experts/ of the experiment.
        seed: of the expert.
        output: the folder to copy to.
    """
    source = Path(folder, read_json(selection)["expert"], f"seed-{seed}")
    for name in TRAINED:
        with atomic(Path(output) / name) as temporary:
            shutil.copyfile(source / name, temporary)


def _monitor(points: dict[str, Recipe]) -> str:
    return next(iter(points.values())).monitor


def _point_of_names(names: list[str], before: str | Path | None) -> dict[str, str]:
    """Return the point of each trained name: itself, or the point promoted to that place."""
    if before is None:
        return {name: name for name in names}
    places = [place["point"] for place in read_json(before)["places"]]
    return dict(zip(names, places, strict=True))


def _ranked(trials: dict[str, list[Trial]], points: Iterable[str], monitor: str) -> list[str]:
    """Return the tried points, best first and those without a value last; ties keep their order."""

    def score(name: str) -> float:
        mean = _mean(trials[name])
        return -math.inf if mean is None else direction(monitor) * mean

    return sorted((name for name in points if name in trials), key=score, reverse=True)


def _mean(trials: list[Trial]) -> float | None:
    """Return the mean over seeds; None if a seed has no value."""
    values = [trial.value for trial in trials if trial.value is not None]
    return fmean(values) if len(values) == len(trials) else None


def _over_seeds(trials: dict[int, Trial]) -> dict[str, Any]:
    """Return the mean over seeds of each number, the sd of the value, and the epochs per seed."""
    summary: dict[str, Any] = {}
    for name in ("value", "val_loss", "gap", "lowest_val_loss"):
        values = [getattr(trial, name) for trial in trials.values()]
        summary[name] = None if None in values else fmean(values)
    values = [trial.value for trial in trials.values()]
    summary["sd"] = stdev(values) if len(values) > 1 and None not in values else None
    for name in ("epochs", "best_epoch", "lowest_val_loss_epoch"):
        summary[name] = [getattr(trial, name) for trial in trials.values()]
    return summary


def _write_table(
    path: Path,
    points: dict[str, tuple[int, str, dict[int, Trial]]],
    values: dict[str, dict[str, Any]],
) -> None:
    """Write a row per point and seed: the changed values and the trial."""
    keys = list(next(iter(values.values())))
    lines = [csv_line(["point", "seed", "rung", *keys, *Trial._fields])]
    for name, (rung, _, trials) in points.items():
        for seed, trial in trials.items():
            lines.append(csv_line([name, seed, rung, *values[name].values(), *trial]))
    write_text(path, "".join(lines))
