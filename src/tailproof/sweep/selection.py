"""Comparing points: who goes on to the next rung, and who wins in the end."""

import csv
import io
import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.config.sweep import values_at
from tailproof.files import atomic, read_json, write_json, write_text
from tailproof.monitors import direction
from tailproof.runtime.errors import TailproofError
from tailproof.sweep.trial import Trial, read_trial

Histories = Mapping[str, Mapping[int, str | Path]]
"""{who was trained: {seed: history.csv or rung.csv}}: points, or places of the rung before."""

FILES = ("model.safetensors", "config.json", "history.csv", "training.json")


def promote(
    histories: Histories,
    before: str | Path | None,
    points: dict[str, Recipe],
    left: int,
    output: str | Path,
) -> None:
    """Write who goes on after a rung, the best first, each with its recipe.

    Args:
        histories: of all who were trained in this rung, in the order of the configuration.
        before: what this function wrote after the rung before; None after the first.
        points: the recipe of each.
        left: how many go on.
        output: the file.

    Raises:
        TailproofError: a history is missing or damaged.
    """
    monitor = _monitor(points)
    behind = _points_behind(list(histories), before)
    trials = {
        behind[name]: [read_trial(path, monitor) for path in seeds.values()]
        for name, seeds in histories.items()
    }
    places = [
        {"point": name, "value": _mean(trials[name]), "recipe": points[name].result_fields()}
        for name in _ranked(trials, points, monitor)[:left]
    ]
    write_json(output, {"monitor": monitor, "places": places})


def select(
    rounds: list[Histories],
    standings: list[str | Path],
    points: dict[str, Recipe],
    keys: list[str],
    output: str | Path,
) -> dict[str, Any]:
    """Write selection.json and points.csv: how far each point came, and the one that won.

    The winner has the best monitored value of those trained in full, in the mean over seeds; of
    equals it is the one that stands first in the configuration.

    Args:
        rounds: the histories of each round; the last was trained in full.
        standings: what `promote` wrote after each round but the last.
        points: the recipe of each.
        keys: dotted, of the recipe: what the sweep changes.
        output: folder of both files.

    Returns:
        What selection.json holds.

    Raises:
        TailproofError: a history is missing or damaged, or no point has a finite value.
    """
    monitor = _monitor(points)
    reached: dict[str, tuple[int, str, dict[int, Trial]]] = {}
    for rung, (histories, before) in enumerate(zip(rounds, [None, *standings], strict=True), 1):
        for name, point in _points_behind(list(histories), before).items():
            trials = {seed: read_trial(path, monitor) for seed, path in histories[name].items()}
            reached[point] = rung, name, trials
    last = {
        name: list(trials.values())
        for name, (rung, _, trials) in reached.items()
        if rung == len(rounds)
    }
    winner = _ranked(last, points, monitor)[0]
    if _mean(last[winner]) is None:
        raise TailproofError(f"no point of the sweep has a finite {monitor} in every seed")
    values = {name: values_at(recipe, keys) for name, recipe in points.items()}
    ordered = {name: reached[name] for name in points}
    result = {
        "monitor": monitor,
        "rungs": len(rounds),
        "winner": winner,
        "expert": reached[winner][1],
        "points": [
            {"point": name, "rung": rung, "values": values[name], **_over_seeds(trials)}
            for name, (rung, _, trials) in ordered.items()
        ],
    }
    write_json(Path(output) / "selection.json", result)
    _write_table(Path(output) / "points.csv", ordered, values)
    return result


def adopt(selection: str | Path, folder: str | Path, seed: int, output: str | Path) -> None:
    """Copy the winner's trained expert.

    Args:
        selection: selection.json.
        folder: experts/ of the experiment.
        seed: of the expert.
        output: the folder that it is copied into.
    """
    source = Path(folder, read_json(selection)["expert"], f"seed-{seed}")
    for name in FILES:
        with atomic(Path(output) / name) as temporary:
            shutil.copyfile(source / name, temporary)


def _monitor(points: dict[str, Recipe]) -> str:
    return next(iter(points.values())).monitor


def _points_behind(names: list[str], before: str | Path | None) -> dict[str, str]:
    """Return the point of each who was trained: itself, or who came to that place before."""
    if before is None:
        return {name: name for name in names}
    places = [place["point"] for place in read_json(before)["places"]]
    return dict(zip(names, places, strict=True))


def _ranked(trials: dict[str, list[Trial]], points: Iterable[str], monitor: str) -> list[str]:
    """Return who was tried, best first; those without a value last, equals as `points` stand."""

    def merit(name: str) -> float:
        mean = _mean(trials[name])
        return -math.inf if mean is None else direction(monitor) * mean

    return sorted((name for name in points if name in trials), key=merit, reverse=True)


def _mean(trials: list[Trial]) -> float | None:
    """Return the mean over seeds; None where a seed has no value."""
    values = [trial.value for trial in trials]
    return None if None in values else fmean(values)


def _over_seeds(trials: dict[int, Trial]) -> dict[str, Any]:
    """Return the mean over seeds of each figure, the sd of the value, and all epochs."""
    found: dict[str, Any] = {}
    for name in ("value", "val_loss", "gap", "lowest_val_loss"):
        values = [getattr(trial, name) for trial in trials.values()]
        found[name] = None if None in values else fmean(values)
    values = [trial.value for trial in trials.values()]
    found["sd"] = stdev(values) if len(values) > 1 and None not in values else None
    for name in ("epochs", "best_epoch", "lowest_val_loss_epoch"):
        found[name] = [getattr(trial, name) for trial in trials.values()]
    return found


def _write_table(
    path: Path,
    points: dict[str, tuple[int, str, dict[int, Trial]]],
    values: dict[str, dict[str, Any]],
) -> None:
    """Write a row for each point and seed: what was changed, and how far it came."""
    text = io.StringIO()
    keys = list(next(iter(values.values())))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["point", "seed", "rung", *keys, *Trial._fields])
    for name, (rung, _, trials) in points.items():
        for seed, trial in trials.items():
            writer.writerow([name, seed, rung, *values[name].values(), *trial])
    write_text(path, text.getvalue())
