"""Runs all detectors on one history; the stage diagnose."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.config.targets import Target
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.detectors import *  # noqa: F403 - registers the built-in detectors
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.registry import DETECTORS, without_effects
from tailproof.files import read_json, write_json


def diagnose(history: RunHistory, context: Context | None = None) -> list[Finding]:
    """Return what is wrong with a run, the most severe and costly finding first.

    Args:
        history: of a run that has ended or still continues.
        context: what else is known about it.
    """
    context = context or Context()
    findings = [finding for detect in DETECTORS.values() for finding in detect(history, context)]
    return sorted(without_effects(findings), key=lambda finding: finding.order)


def write_diagnosis(
    history: str | Path,
    training: str | Path,
    manifest: str | Path,
    recipes: dict[str, dict[str, Any]],
    selection: str | Path | None,
    targets: dict[str, list[dict[str, Any]]],
    output: str | Path,
) -> list[Finding]:
    """Write the findings about one expert and seed, and return them.

    Args:
        history: history.csv.
        training: training.json, which names the state taken over from another run.
        manifest: the manifest of the shards, for the number of classes and samples.
        recipes: the expert's recipe, or those of all points that it may be, by name.
        selection: selection.json of the sweep, where the expert is its winner.
        targets: the targets of each metric.
        output: diagnosis.json.

    Raises:
        TailproofError: a file is missing or damaged.
    """
    name = read_json(selection)["winner"] if selection else next(iter(recipes))
    known = context_of_shards(
        read_json(manifest),
        Recipe(**recipes[name]),
        {metric: [Target(**limits) for limits in entries] for metric, entries in targets.items()},
    )
    context = replace(known, taken_over=taken_over_at(read_json(training)))
    findings = diagnose(RunHistory.read(history), context)
    write_json(output, {"findings": [finding.to_jsonable() for finding in findings]})
    return findings


def context_of_shards(
    manifest: dict[str, Any], recipe: Recipe, targets: dict[str, list[Target]]
) -> Context:
    """Return what the shards, the recipe and the targets say about a run.

    Args:
        manifest: shards/manifest.json.
        recipe: the recipe of the run.
        targets: the targets of each metric.
    """
    return Context(
        recipe=recipe,
        classes=len(manifest["classes"][manifest["target"]]),
        train_samples=manifest["splits"]["train"]["rows"],
        val_samples=manifest["splits"]["val"]["rows"],
        targets=targets,
    )


def taken_over_at(training: dict[str, Any]) -> int | None:
    """Return the first whole epoch after the state taken over from another run; None without one.

    Resumed attempts of the same run do not count: they do not change its history.

    Args:
        training: training.json.
    """
    state = training["resumed_from"]
    return state and state["epoch"] + (1 if state["step"] else 0)
