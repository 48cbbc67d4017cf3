"""What recommendations did: findings whose change a later run of the same expert took on."""

from typing import Any, NamedTuple

from tailproof.provenance.config_diff import settings
from tailproof.runtime.records import Record

Finding = dict[str, Any]


class Followed(NamedTuple):
    """A recommendation that a run followed.

    Attributes:
        finding: as the record of its job has it: ``kind``, ``title``, ``change``, ``expects``.
        metric: by which both runs chose their best epoch; empty where they chose by others.
        before: its best value in the run that the finding is about.
        after: its best value in the run that follows it.
        gone: whether the later run does not show the finding; None while that is not known.
        beside: other settings that changed too, so that the effect may be theirs.
    """

    finding: Finding
    metric: str
    before: float | None
    after: float | None
    gone: bool | None
    beside: list[str]


def followed(
    earlier: Record,
    found: list[Finding],
    later: Record,
    found_later: list[Finding] | None,
    changed: list[str],
) -> list[Followed]:
    """Return the recommendations of an earlier run that a later one followed.

    Args:
        earlier: a training run.
        found: what was found of it.
        later: the next run of the same expert and seed.
        found_later: what was found of that; None where nobody has looked yet.
        changed: the settings in which the two differ.
    """
    before, after = (each.parameters.get("recipe", {}) for each in (earlier, later))
    kinds = None if found_later is None else {each["kind"] for each in found_later}
    metrics = {each.results.get("monitor", "") for each in (earlier, later)}
    metric = metrics.pop() if len(metrics) == 1 else ""
    values = [each.results.get("monitored") if metric else None for each in (earlier, later)]
    return [
        Followed(
            finding,
            metric,
            *values,
            None if kinds is None else finding["kind"] not in kinds,
            _beside(finding["change"], changed),
        )
        for finding in found
        if finding["change"]
        and _within(finding["change"], after)
        and not _within(finding["change"], before)
    ]


def _within(change: dict[str, Any], recipe: dict[str, Any]) -> bool:
    """Tell whether a recipe has every value of a change."""
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
    """Return the settings that are not of the change; one that names a loss sets all of it."""
    own = settings(change)
    whole = tuple(f"{key.removesuffix('.name')}." for key in own if key.endswith(".name"))
    return [key for key in changed if key not in own and not (whole and key.startswith(whole))]
