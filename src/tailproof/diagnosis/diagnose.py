"""All detectors over one history."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.config.targets import Target
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.detectors import (
    learning,
    missed_targets,
    overfitting,
    phase_changes,
    rare_events,
    resuming,
)
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import History
from tailproof.diagnosis.readers import read_history
from tailproof.files import read_json, write_json

Detector = Callable[[History, Context], list[Finding]]

DETECTORS: tuple[Detector, ...] = (
    learning.not_finite,
    learning.divergence,
    learning.stuck,
    learning.rate_too_high,
    learning.rate_too_low,
    learning.still_improving,
    rare_events.score_collapse,
    rare_events.nearly_binary_scores,
    overfitting.best_against_last,
    overfitting.rising_loss,
    overfitting.widening_gap,
    overfitting.memorisation,
    resuming.bad_resume,
    resuming.repeated_epochs,
    resuming.seen_more_than_once,
    phase_changes.regime_change,
    missed_targets.target_missed,
)

EXPLAINED = {
    "not_finite": {"divergence", "rate_too_high", "best_against_last", "near_chance"},
    "bad_resume": {"divergence", "rate_too_high"},
    "divergence": {"rate_too_high", "best_against_last", "overfitting", "overconfidence",
                   "near_chance", "underfitting"},
    "rate_too_low": {"still_improving", "underfitting", "near_chance"},
    "near_chance": {"still_improving"},
}  # fmt: skip
"""What a finding is the cause of, so that it is not told twice; the first that holds wins."""


def diagnose(history: History, context: Context | None = None) -> list[Finding]:
    """Return what is wrong with a run, the worst and the dearest first; nothing if it is healthy.

    Args:
        history: of a run that has ended or still goes on.
        context: what else is known of it.
    """
    context = context or Context()
    found = [finding for detector in DETECTORS for finding in detector(history, context)]
    kinds = {finding.kind for finding in found}
    for cause, effects in EXPLAINED.items():
        if cause in kinds:
            kinds -= effects
    return sorted((each for each in found if each.kind in kinds), key=lambda each: each.order)


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
    found = diagnose(read_history(history), context)
    write_json(output, {"findings": [finding.to_jsonable() for finding in found]})
    return found


def taken_over_at(training: dict[str, Any]) -> int | None:
    """Return the first whole epoch after another run's state, of training.json; None without one.

    Where the run's own attempts began does not count: its history has the same bytes without them.
    """
    state = training["resumed_from"]
    return state and state["epoch"] + (1 if state["step"] else 0)
