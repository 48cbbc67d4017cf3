"""The rules of rejection that an expert takes along in its predict.json."""

import csv
from pathlib import Path

from tailproof.evaluation.deployment import Deployed, FittedRule
from tailproof.model_card.expert_facts import ExpertFacts
from tailproof.runtime.errors import TailproofError

WEIGHTING = "plain"  # of tune, by which rules were fitted: every image counts the same
FITTED = ("shift", "gain", "multiplier")
GROUPS = ("head", "tail")


def deployed(facts: ExpertFacts, rejectors: str | Path) -> Deployed:
    """Return predict.json; unless another one is asked for, the rule leaves something out.

    Args:
        facts: of the expert.
        rejectors: rejectors.csv.

    Raises:
        TailproofError: the table has no rule for the expert.
    """
    partial = [coverage for coverage in facts.evaluation.coverages if coverage < 1]
    return Deployed(
        experiment=facts.experiment,
        expert=facts.expert,
        seed=facts.seed,
        weights_sha256=facts.calibration["weights_sha256"],
        images=facts.manifest["mode"],
        tail=facts.metrics["groups"]["few"],
        coverage=max(partial, default=1.0),
        rules=_rules(facts, rejectors),
    )


def _rules(facts: ExpertFacts, path: str | Path) -> dict[str, list[FittedRule]]:
    found: dict[str, list[FittedRule]] = {}
    own = {"method": facts.expert, "seed": str(facts.seed), "weighting": WEIGHTING}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if own.items() <= row.items():
                parts = {
                    name: tuple(_number(row[f"{name}_{group}"]) for group in GROUPS)
                    for name in FITTED
                }
                rule = FittedRule(
                    coverage=float(row["coverage"]), threshold=_number(row["threshold"]), **parts
                )
                found.setdefault(row["rule"], []).append(rule)
    if not found:
        raise TailproofError(
            f"{path} has no rule for {facts.expert}, seed {facts.seed}: run evaluate again"
        )
    return found


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
