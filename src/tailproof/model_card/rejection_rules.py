"""The rejection rules in an expert's deployment.json."""

import csv
from pathlib import Path
from typing import Any

from tailproof.evaluation.deployment import Assumptions, Deployment, FittedRule
from tailproof.model_card.expert_facts import ExpertFacts
from tailproof.runtime.errors import TailproofError

WEIGHTING = "plain"  # rules that were fitted with the same weight for every image of tune
FITTED = ("shift", "gain", "multiplier")
SIDES = ("head", "tail")  # tail: the few-shot classes, head: all others


def deployment_of(facts: ExpertFacts, rejectors: str | Path) -> Deployment:
    """Return the content of deployment.json; its default coverage is the largest below 1.

    Args:
        facts: facts about the expert.
        rejectors: rejectors.csv.

    Raises:
        TailproofError: the table has no rule for the expert.
    """
    partial = [coverage for coverage in facts.evaluation.coverages if coverage < 1]
    return Deployment(
        experiment=facts.experiment,
        expert=facts.expert,
        seed=facts.seed,
        weights_sha256=facts.calibration["weights_sha256"],
        images=facts.manifest["mode"],
        tail=facts.metrics["groups"]["few"],
        coverage=max(partial, default=1.0),
        rules=rules_of(rejectors, facts.expert, facts.seed),
        group_temperature=facts.group_temperature,
        assumptions=Assumptions(**facts.assumptions),
    )


def rules_of(path: str | Path, method: str, seed: int) -> dict[str, list[FittedRule]]:
    """Return the rules of an expert or ensemble.

    Args:
        path: rejectors.csv.
        method: name of the expert or ensemble.
        seed: its seed.

    Raises:
        TailproofError: the table has no rule for it.
    """
    rules: dict[str, list[FittedRule]] = {}
    wanted = {"method": method, "seed": str(seed), "weighting": WEIGHTING}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if wanted.items() <= row.items():
                parts: dict[str, Any] = {
                    name: tuple(_number(row[f"{name}_{side}"]) for side in SIDES) for name in FITTED
                }
                rule = FittedRule(
                    coverage=float(row["coverage"]), threshold=_number(row["threshold"]), **parts
                )
                rules.setdefault(row["rule"], []).append(rule)
    if not rules:
        raise TailproofError(
            f"{path} has no rule for {method}, seed {seed}: run snakemake again with --forcerun "
            "evaluate"
        )
    return rules


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
