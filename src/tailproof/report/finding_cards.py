"""The page's section on what the runs say: findings of each expert, and of all together."""

from dataclasses import replace
from typing import Any, NamedTuple

from tailproof.config.recipe import sign_of
from tailproof.config.sweep import WINNER
from tailproof.diagnosis.compare_runs import compare
from tailproof.diagnosis.detectors.missed_targets import target_of
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.run_set import DiagnosedRun, RunSet
from tailproof.diagnosis.terminal import details, epochs_of, patch
from tailproof.report.metric_format import listing
from tailproof.report.results import Results

FINDINGS_SPLIT = "dev"
TOGETHER = "all together"
NAMED = 5  # experts in the head of a card


class Card(NamedTuple):
    """One finding as the page shows it.

    Attributes:
        who: the expert, with the seeds that show it where there are several.
        severity: info, warning or error.
        title: what is wrong.
        lines: where, how clear, at which cost, as texts.
        expects: what the change should do.
        patch: the change as YAML; empty without one.
    """

    who: str
    severity: str
    title: str
    lines: list[str]
    expects: str
    patch: str


def cards(results: Results) -> list[Card]:
    """Return a card a finding, the worst first.

    What several seeds of an expert show is one card, with the numbers of the worst of them.
    """
    seeds = results.experiment.seeds
    found: dict[tuple[str, str], list[tuple[int, Finding]]] = {}
    for expert, diagnoses in results.diagnoses.items():
        for seed, diagnosis in diagnoses.items():
            for finding in map(_read, diagnosis["findings"]):
                found.setdefault((expert, finding.kind), []).append((seed, finding))
    shown = []
    for (expert, _), own in found.items():
        seed, worst = min(own, key=lambda each: each[1].order)
        named = dict.fromkeys(str(each) for each, _ in own)
        who = expert
        if len(named) > 1:
            who += f", seeds {', '.join(named)} (numbers of {seed})"
        elif len(seeds) > 1:
            who += f", seed {seed}"
        shown.append((worst, who))
    shown += [(finding, TOGETHER) for finding in _together(results)]
    shown.sort(key=lambda each: each[0].order)
    return [_card(finding, who, _clarity(finding)) for finding, who in shown]


def before_training(preflight: dict[str, Any]) -> list[Card]:
    """Return a card for each finding of preflight.json, the worst first."""
    shown = []
    for finding in map(_read, preflight["findings"]):
        evidence = {name: each for name, each in finding.evidence.items() if name != "experts"}
        who = listing(finding.evidence.get("experts", []), NAMED)
        shown.append(_card(replace(finding, evidence=evidence), who, finding.kind))
    return shown


def _clarity(finding: Finding) -> str:
    sure = f"{100 * finding.confidence:.0f} % sure"
    where = f"epochs {epochs_of(finding)} · {sure}" if finding.epochs else sure
    return f"{finding.kind} · {where}"


def _card(finding: Finding, who: str, first: str) -> Card:
    lines = [first.replace("_", " ")]
    lines += [text for text in (details(finding.evidence),) if text]
    lines += [f"costs: {text}" for text in (details(finding.cost),) if text]
    return Card(who, finding.severity, finding.title, lines, finding.expects, patch(finding))


def _read(value: dict[str, Any]) -> Finding:
    return Finding(**{**value, "epochs": tuple(value["epochs"])})


def _together(results: Results) -> list[Finding]:
    """Compare the experts, and by themselves the points of a sweep."""
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
    found = {}
    for pair, own in results.scores.metrics["agreement"].get(FINDINGS_SPLIT, {}).items():
        first, second = pair.split(" / ")
        found[first, second] = own["over_seeds"]["agreement"]["mean"]
    return found


def _ece(results: Results) -> dict[str, dict[str, tuple[float, float, float]]]:
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for expert, own in results.scores.metrics["experts"].items():
        for split, values in own["over_seeds"].items():
            ece = values["ece"]
            known = tuple(ece[field] for field in ("mean", "low", "high"))
            if None not in known:
                found.setdefault(expert, {})[split] = known
    return found


def _points(selection: dict[str, Any]) -> list[DiagnosedRun]:
    sign = sign_of(selection["monitor"])
    return [
        DiagnosedRun(
            each["point"],
            settings={
                key: float(value)
                for key, value in each["values"].items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            },
            metric=selection["monitor"],
            best=each["value"],
            best_epoch=max(each["best_epoch"], default=None),
            train=None if each["gap"] is None else each["value"] + sign * each["gap"],
            epochs=max(each["epochs"]),
        )
        for each in selection["points"]
        if each["rung"] == selection["rungs"] and each["value"] is not None
    ]
