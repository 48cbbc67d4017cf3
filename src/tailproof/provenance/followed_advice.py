"""Recommendations that a later run of the same expert followed, and their effect."""

from typing import Any, NamedTuple

from tailproof.provenance.config_diff import settings
from tailproof.runtime.records import Record

Finding = dict[str, Any]


class Followed(NamedTuple):
    """A recommendation that a run followed.

    Attributes:
        finding: the finding as recorded: ``kind``, ``title``, ``change``, ``expects``.
        metric: the metric by which both runs chose their best epoch; empty if the metrics differ.
        before: best value of the metric in the run that the finding is about.
        after: best value of the metric in the run that followed the recommendation.
        gone: whether the later run no longer has the finding; None if it was not diagnosed yet.
        also_changed: other settings that changed too and may have caused the effect.
    """

    finding: Finding
    metric: str
    before: float | None
    after: float | None
    gone: bool | None
    also_changed: list[str]


def followed(
    earlier: Record,
    findings: list[Finding],
    later: Record,
    later_findings: list[Finding] | None,
    changed: list[str],
) -> list[Followed]:
    """Return the recommendations for an earlier run that a later one followed.

    Args:
        earlier: a training run.
        findings: findings about that run.
        later: the next run of the same expert and seed.
        later_findings: findings about the later run; None if it was not diagnosed yet.
        changed: the settings in which the two runs differ.
    """
    before, after = (run.parameters.get("recipe", {}) for run in (earlier, later))
    kinds = None if later_findings is None else {finding["kind"] for finding in later_findings}
    metrics = {run.results.get("monitor", "") for run in (earlier, later)}
    metric = metrics.pop() if len(metrics) == 1 else ""
    best, best_after = (
        run.results.get("monitored") if metric else None for run in (earlier, later)
    )
    return [
        Followed(
            finding,
            metric,
            best,
            best_after,
            None if kinds is None else finding["kind"] not in kinds,
            _beside(finding["change"], changed),
        )
        for finding in findings
        if finding["change"]
        and _within(finding["change"], after)
        and not _within(finding["change"], before)
    ]


def _within(change: dict[str, Any], recipe: dict[str, Any]) -> bool:
    """Return whether a recipe has every value of a change."""
    return all(
        key in recipe
        and (
            _within(value, recipe[key])
            if isinstance(value, dict) and isinstance(recipe[key], dict)
            else value == recipe[key]
        )
        for key, value in change.items()
    )


def _beside(change: dict[str, Any], changed: list[str]) -> list[str]:
    """Return changed settings outside the change; naming a loss covers all its settings."""
    advised = settings(change)
    whole = tuple(f"{key.removesuffix('.name')}." for key in advised if key.endswith(".name"))
    return [key for key in changed if key not in advised and not (whole and key.startswith(whole))]
