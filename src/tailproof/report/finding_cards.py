"""The finding cards of the page: one per finding of an expert or of all experts together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tailproof.config.sweep import WINNER
from tailproof.diagnosis.compare_runs import compare
from tailproof.diagnosis.detectors.missed_targets import target_of
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.run_set import DiagnosedRun, RunSet
from tailproof.diagnosis.terminal import details, epochs_of, patch
from tailproof.monitors import direction
from tailproof.report.metric_format import listing
from tailproof.report.results import Results

FINDINGS_SPLIT = "dev"
TOGETHER = "all experts"
NAMED = 5  # most experts named above a card


class Card(NamedTuple):
    """One finding as the page shows it.

    Attributes:
        who: the expert, with the affected seeds if there are several.
        severity: info, warning or error.
        title: the problem in one sentence.
        lines: kind, epochs, confidence, evidence and cost as texts.
        expects: the expected effect of the fix.
        patch: the fix as YAML; empty if there is none.
    """

    who: str
    severity: str
    title: str
    lines: list[str]
    expects: str
    patch: str


Findings = Mapping[str, Mapping[int, Sequence[Finding]]]
"""The findings of each expert and seed."""


def cards(results: Results) -> list[Card]:
    """Return a card per finding, the worst first.

    A finding that several seeds of an expert share is one card, with the numbers of the worst
    seed.
    """
    findings = {
        expert: {seed: [*map(_read, diagnosis["findings"])] for seed, diagnosis in by_seed.items()}
        for expert, by_seed in results.diagnoses.items()
    }
    shown = _of_runs(findings, results.experiment.seeds)
    return _cards(shown + [(finding, TOGETHER) for finding in _together(results)])


def cards_of_runs(findings: Findings, seeds: Sequence[int]) -> list[Card]:
    """Return the cards of single runs, which may not have ended; see `cards`.

    Args:
        findings: those of each run.
        seeds: the seeds of the experiment.
    """
    return _cards(_of_runs(findings, seeds))


def _cards(shown: list[tuple[Finding, str]]) -> list[Card]:
    shown = sorted(shown, key=lambda finding_and_who: finding_and_who[0].order)
    return [_card(finding, who, _confidence(finding)) for finding, who in shown]


def _of_runs(findings: Findings, seeds: Sequence[int]) -> list[tuple[Finding, str]]:
    """Return each finding with the expert and the seeds that have it."""
    by_kind: dict[tuple[str, str], list[tuple[int, Finding]]] = {}
    for expert, of_seeds in findings.items():
        for seed, of_seed in of_seeds.items():
            for finding in of_seed:
                by_kind.setdefault((expert, finding.kind), []).append((seed, finding))
    shown = []
    for (expert, _), by_seed in by_kind.items():
        worst_seed, worst = min(by_seed, key=lambda seed_and_finding: seed_and_finding[1].order)
        affected = dict.fromkeys(str(seed) for seed, _ in by_seed)
        who = expert
        if len(affected) > 1:
            who += f", seeds {', '.join(affected)} (numbers of seed {worst_seed})"
        elif len(seeds) > 1:
            who += f", seed {worst_seed}"
        shown.append((worst, who))
    return shown


def before_training(preflight: dict[str, Any]) -> list[Card]:
    """Return a card for each finding of preflight.json, the worst first."""
    shown = []
    for finding in map(_read, preflight["findings"]):
        evidence = {name: fact for name, fact in finding.evidence.items() if name != "experts"}
        who = listing(finding.evidence.get("experts", []), NAMED)
        shown.append(_card(replace(finding, evidence=evidence), who, finding.kind))
    return shown


def _confidence(finding: Finding) -> str:
    confidence = f"confidence {100 * finding.confidence:.0f} %"
    where = f"epochs {epochs_of(finding)} · {confidence}" if finding.epochs else confidence
    return f"{finding.kind} · {where}"


def _card(finding: Finding, who: str, first: str) -> Card:
    lines = [first.replace("_", " ")]
    lines += [text for text in (details(finding.evidence),) if text]
    lines += [f"cost: {text}" for text in (details(finding.cost),) if text]
    return Card(who, finding.severity, finding.title, lines, finding.expects, patch(finding))


def _read(value: dict[str, Any]) -> Finding:
    return Finding(**{**value, "epochs": tuple(value["epochs"])})


def _together(results: Results) -> list[Finding]:
    """Compare the experts with each other, and the points of a sweep with each other."""
    experts = [name for name in results.scores.experts if name != WINNER]
    recipes = {name: results.recipe(name) for name in experts}
    runs = [
        DiagnosedRun.of(RunHistory.of(expert, history.rows), recipes[expert], expert, seed)
        for expert in experts
        for seed, history in results.histories[expert].items()
    ]
    findings = compare(RunSet(runs, None, recipes, _agreement(results), _ece(results)))
    if results.selection:
        monitor = results.selection["monitor"]
        target = target_of(results.experiment.targets, monitor)
        findings += compare(RunSet(_points(results.selection), target))
    return findings


def _agreement(results: Results) -> dict[tuple[str, str], float]:
    agreement = {}
    for pair, values in results.scores.metrics["agreement"].get(FINDINGS_SPLIT, {}).items():
        first, second = pair.split(" / ")
        agreement[first, second] = values["over_seeds"]["agreement"]["mean"]
    return agreement


def _ece(results: Results) -> dict[str, dict[str, tuple[float, float, float]]]:
    by_expert: dict[str, dict[str, tuple[float, float, float]]] = {}
    for expert, of_expert in results.scores.metrics["experts"].items():
        for split, values in of_expert["over_seeds"].items():
            ece = tuple(values["ece"][field] for field in ("mean", "low", "high"))
            if None not in ece:
                by_expert.setdefault(expert, {})[split] = ece
    return by_expert


def _points(selection: dict[str, Any]) -> list[DiagnosedRun]:
    sign = direction(selection["monitor"])
    return [
        DiagnosedRun(
            point["point"],
            settings={
                key: float(value)
                for key, value in point["values"].items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            },
            metric=selection["monitor"],
            best=point["value"],
            best_epoch=max(point["best_epoch"], default=None),
            train=None if point["gap"] is None else point["value"] + sign * point["gap"],
            epochs=max(point["epochs"]),
        )
        for point in selection["points"]
        if point["rung"] == selection["rungs"] and point["value"] is not None
    ]
