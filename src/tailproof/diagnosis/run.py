"""Stage diagnose: an expert's history becomes diagnosis.json."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from tailproof.core.config.expect import Target
from tailproof.core.config.recipe import Recipe
from tailproof.core.files import read_json, write_json
from tailproof.core.finding import Finding
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.diagnose import diagnose
from tailproof.diagnosis.reading import read_history


def write_diagnosis(
    history: str | Path,
    training: str | Path,
    manifest: str | Path,
    recipes: dict[str, dict[str, Any]],
    selection: str | Path | None,
    expect: dict[str, list[dict[str, Any]]],
    output: str | Path,
) -> list[Finding]:
    """Write what is found in the history of one expert and seed, and return it.

    Args:
        history: history.csv.
        training: training.json, which says where attempts began.
        manifest: of the shards, which says how many classes and samples there are.
        recipes: the expert's, or by name those of all points that it may be.
        selection: what the sweep selected, where the expert is one of several points.
        expect: targets by metric.
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
        resumed=resumed_at(read_json(training)["attempts"]),
        expect={metric: [Target(**each) for each in own] for metric, own in expect.items()},
    )
    found = diagnose(read_history(history), context)
    write_json(output, {"findings": [finding.plain() for finding in found]})
    return found


def resumed_at(attempts: list[dict[str, Any]]) -> tuple[int, ...]:
    """Return the first whole epoch of each attempt of training.json after the first."""
    found = []
    for before, after in pairwise(attempts):
        within = after["first_epoch"] <= before["last_epoch"]
        found.append(after["first_epoch"] + (1 if within else 0))
    return tuple(found)
