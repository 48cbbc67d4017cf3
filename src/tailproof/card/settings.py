"""predict.json: what a prediction needs besides weights, configuration and temperatures."""

import csv
from pathlib import Path
from typing import Any

from tailproof.card.facts import Facts
from tailproof.core.errors import TailproofError

WEIGHTING = "plain"  # of tune, by which rules were fitted: every image counts the same
FITTED = ("shift", "gain", "multiplier")
GROUPS = ("head", "tail")


def settings_of(facts: Facts, rejectors: str | Path) -> dict[str, Any]:
    """Return predict.json.

    Its `rules` are those of rejectors.csv for this expert, of plain weighting: for each coverage
    shift, gain and multiplier of head and tail, null for a group without classes, and the
    threshold, null where everything is accepted. `coverage` is the largest listed one that leaves
    something out.

    Args:
        facts: of the expert.
        rejectors: rejectors.csv.

    Raises:
        TailproofError: the table has no rule for the expert.
    """
    listed = [coverage for coverage in facts.evaluation.coverages if coverage < 1]
    return {
        "experiment": facts.experiment,
        "expert": facts.expert,
        "seed": facts.seed,
        "weights_sha256": facts.calibration["weights_sha256"],
        "images": facts.manifest["mode"],
        "tail": facts.metrics["groups"]["few"],
        "coverage": max(listed, default=1.0),
        "rules": _rules(facts, rejectors),
    }


def _rules(facts: Facts, path: str | Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    own = {"method": facts.expert, "seed": str(facts.seed), "weighting": WEIGHTING}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if own.items() <= row.items():
                fitted = {
                    name: [_number(row[f"{name}_{group}"]) for group in GROUPS] for name in FITTED
                }
                ends = {"coverage": float(row["coverage"]), "threshold": _number(row["threshold"])}
                found.setdefault(row["rule"], []).append(ends | fitted)
    if not found:
        raise TailproofError(
            f"{path} has no rule for {facts.expert}, seed {facts.seed}: run evaluate again"
        )
    return found


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
