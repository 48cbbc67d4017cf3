"""Precision and recall of each detector on histories with known faults, compared to sk-autod.

    make bench-diagnosis

tests/diagnosis generates the histories (default seed 0): healthy ones of 22 shapes, and each fault
at three strengths and three noise levels. The second table is of small networks that are really
trained, with and without a fault. `sk-autod` reads only train and val loss. The third table
therefore uses only histories with both for at least 5 epochs, all finite, and only the faults that
sk-autod has detectors for; tailproof gets the same two columns and no configuration. A finding is
false if its fault is neither present nor a consequence of one that is. The third table ignores
findings of severity info of both.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from tailproof.diagnosis.compare_runs import compare
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.diagnose import diagnose
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.registry import KINDS
from tests.diagnosis.faults import faulty
from tests.diagnosis.scores import Scores
from tests.diagnosis.sets import sets
from tests.diagnosis.synthetic import Case, healthy
from tests.diagnosis.trained import WATCHED, trained

PEER = Path(".venv/autod/bin/python")
THEIRS = {
    "classic_overfitting": {"overfitting", "overconfidence"},
    "missed_early_stopping": {"overfitting", "best_against_last"},
    "underfitting": {"underfitting"},
    "dying_relu_proxy": {"underfitting"},
    "lr_too_high": {"rate_too_high"},
    "noisy_training": {"rate_too_high"},
    "lr_too_low": {"rate_too_low"},
    "exploding_gradient": {"divergence"},
}
"""The kinds that match each detector of sk-autod, chosen in its favour."""
BY_LOSSES = ("overfitting", "underfitting", "rate_too_high", "rate_too_low", "divergence")
LOSSES = ("train_loss", "val_loss")


def kinds(case: Case) -> set[str]:
    return {finding.kind for finding in diagnose(case.history, case.context)}


def serious_kinds(case: Case) -> set[str]:
    """Return the kinds of findings above severity info."""
    findings = diagnose(case.history, case.context)
    return as_losses(frozenset(item.kind for item in findings if item.severity != "info"))


def losses_alone(case: Case) -> Case | None:
    """Return the case with only its losses; None if they are missing, short or not finite."""
    losses = [case.history.columns.get(name) for name in LOSSES]
    if any(loss is None or len(loss) < 5 or not np.isfinite(loss).all() for loss in losses):
        return None
    history = RunHistory(
        case.name, case.history.epochs, dict(zip(LOSSES, losses, strict=True)), case.history.passed
    )
    return replace(case, history=history, context=Context(), expected=as_losses(case.expected),
                   allowed=as_losses(case.allowed | case.expected))  # fmt: skip


def as_losses(named: frozenset[str]) -> frozenset[str]:
    """Map kinds to those that losses alone can show: they do not show the decisions."""
    found = {"overfitting" if kind == "overconfidence" else kind for kind in named}
    return frozenset({"underfitting" if kind == "near_chance" else kind for kind in found})


def theirs(cases: list[Case]) -> list[set[str]]:
    curves = [[case.history.columns[name].tolist() for name in LOSSES] for case in cases]
    done = subprocess.run(
        [PEER, "benchmarks/autod.py"], input=json.dumps(curves), text=True, capture_output=True,
        check=True,
    )  # fmt: skip
    found = []
    for findings in json.loads(done.stdout):
        named = set()
        for name, severity in findings:
            if severity != "INFO":
                key = name.lower().replace(" ", "_").replace("-", "_")
                named |= {key} if key not in THEIRS else as_losses(frozenset(THEIRS[key]))
        found.append(named)
    return found


def share(value: float) -> str:
    return f"{100 * value:.1f}"


def whole(seed: int, each: int) -> Table:
    start = time.perf_counter()
    scores = Scores().count(healthy(seed, 3 * each), kinds).count(faulty(seed, each), kinds)
    scores.count(sets(seed, each), lambda case: {f.kind for f in compare(case.runs)})
    seconds = time.perf_counter() - start
    found, there = sum(scores.found.values()), sum(scores.there.values())
    table = Table(
        title=f"{scores.healthy} healthy, {there} faulty cases in {seconds:.0f} s; recall "
        f"{share(found / there)} %, any finding in {share(scores.false_alarms)} % of the "
        "healthy ones"
    )
    for column in ("detector", "cases", "recall, %", "precision, %", "missed at"):
        table.add_column(column, justify="left" if column in ("detector", "missed at") else "right")
    for kind in KINDS:
        missed = ", ".join(
            f"{strength}/{noise} {count}"
            for (name, strength, noise), count in scores.missed.most_common()
            if name == kind
        )
        table.add_row(
            kind, str(scores.there[kind]), share(scores.recall(kind)),
            share(scores.precision(kind)), missed,
        )  # fmt: skip
    return table


def of_networks(seed: int, each: int) -> Table:
    """Return what is found in networks that are really trained, with and without a fault."""
    found: dict[tuple[str, str], list[bool]] = {}
    for case in trained(seed, each):
        named = kinds(case)
        wanted = next(iter(case.expected), "")
        hit = wanted in named if wanted else bool(named & WATCHED)
        found.setdefault((case.name, wanted), []).append(hit)
    table = Table(title=f"{sum(map(len, found.values()))} networks that are really trained")
    for column in ("network", "fault", "runs", "found, %"):
        table.add_column(column, justify="right" if column in ("runs", "found, %") else "left")
    for (name, wanted), hits in found.items():
        table.add_row(name, wanted or "none", str(len(hits)), share(sum(hits) / len(hits)))
    return table


def compare_losses(seed: int, each: int) -> Table:
    drawn = [*healthy(seed, 3 * each), *faulty(seed, each)]
    cases = [
        case
        for case in map(losses_alone, drawn)
        if case and (not case.expected or case.expected & set(BY_LOSSES))
    ]
    ours = Scores().count(cases, serious_kinds)
    answers = iter(theirs(cases))
    peer = Scores().count(cases, lambda case: next(answers))
    table = Table(title=f"On {len(cases)} pairs of loss curves alone, %")
    table.add_column("")
    for name in ("tailproof", "sk-autod"):
        table.add_column(f"{name}: recall", justify="right")
        table.add_column("precision", justify="right")
    for kind in BY_LOSSES:
        if ours.there[kind]:
            table.add_row(
                kind, *(share(part) for each in (ours, peer)
                        for part in (each.recall(kind), each.precision(kind))),
            )  # fmt: skip
    table.add_row(
        f"any finding, in {ours.healthy} healthy histories", share(ours.false_alarms), "",
        share(peer.false_alarms), "",
    )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=12, help="cases of a fault, strength and noise")
    options = parser.parse_args()
    console = Console(width=110)
    console.print(whole(options.seed, options.each))
    console.print(of_networks(options.seed, 2 * options.each))
    if PEER.exists():
        console.print(compare_losses(options.seed, options.each))
    else:
        console.print("sk-autod is not installed: run `make bench-diagnosis`")


if __name__ == "__main__":
    main()
