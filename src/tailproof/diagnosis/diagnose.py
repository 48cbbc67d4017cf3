"""All detectors over one history."""

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
        history: of a run that has ended or still goes on.
        context: what else is known of it.
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
    """Write what is found in the history of one expert and seed, and return it.

    Args:
        history: history.csv.
        training: training.json, which says from which other run's state this one went on.
        manifest: of the shards, which says how many classes and samples there are.
        recipes: the expert's, or by name those of all points that it may be.
        selection: what the sweep selected, where the expert is one of several points.
        targets: by metric.
        output: diagnosis.json.

    Raises:
        TailproofError: a file is missing or damaged.
    """
    facts = read_json(manifest)
    name = read_json(selection)["winner"] if selection else next(iter(recipes))
    context = Context(
        recipe=Recipe(**recipes[name]),
        classes=len(facts["classes"][facts["target"]]),
        train_samples=facts["splits"]["train"]["rows"],
        taken_over=taken_over_at(read_json(training)),
        targets={metric: [Target(**each) for each in own] for metric, own in targets.items()},
    )
    found = diagnose(RunHistory.read(history), context)
    write_json(output, {"findings": [finding.to_jsonable() for finding in found]})
    return found


def taken_over_at(training: dict[str, Any]) -> int | None:
    """Return the first whole epoch after another run's state, of training.json; None without one.

    Where the run's own attempts began does not count: its history has the same bytes without them.
    """
    state = training["resumed_from"]
    return state and state["epoch"] + (1 if state["step"] else 0)
