"""The detectors: functions that register themselves, with the kinds of findings they report.

A detector is one function in a file of `tailproof.diagnosis.detectors`, or of a project's folder
`extensions`:

    @detector("loss_below_zero")
    def loss_below_zero(history, context):
        ...
        return [Finding("loss_below_zero", ...)]
"""

from collections.abc import Callable, Collection, Mapping
from graphlib import TopologicalSorter

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.run_set import RunSet

Detector = Callable[[RunHistory, Context], list[Finding]]
Comparison = Callable[[RunSet], list[Finding]]

DETECTORS: dict[str, Detector] = {}
"""Detectors of one run, by module and name."""

COMPARISONS: dict[str, Comparison] = {}
"""Detectors that compare several runs, by module and name."""

KINDS: dict[str, None] = {}
"""Every kind of finding about runs, in the order of registration."""

_CAUSES: dict[str, set[str]] = {}
"""The kinds that explain a kind, so that it is not reported next to them."""


def detector(
    *kinds: str, explains: Mapping[str, Collection[str]] | None = None
) -> Callable[[Detector], Detector]:
    """Register a detector of one run.

    Args:
        kinds: the kinds of findings that it reports.
        explains: the kinds that follow from one of them and are left out where it is found.
    """
    for cause, effects in (explains or {}).items():
        for effect in effects:
            _CAUSES.setdefault(effect, set()).add(cause)
    return _registering(DETECTORS, kinds)


def comparison(*kinds: str) -> Callable[[Comparison], Comparison]:
    """Register a detector that compares several runs.

    Args:
        kinds: the kinds of findings that it reports.
    """
    return _registering(COMPARISONS, kinds)


def without_effects(findings: list[Finding]) -> list[Finding]:
    """Return the findings that no other one explains.

    A finding that is itself explained explains nothing.
    """
    kinds = {finding.kind for finding in findings}
    for kind in TopologicalSorter(_CAUSES).static_order():
        if kinds & _CAUSES.get(kind, set()):
            kinds.discard(kind)
    return [finding for finding in findings if finding.kind in kinds]


def _registering(registry: dict, kinds: tuple[str, ...]) -> Callable:
    def register(function: Callable) -> Callable:
        registry[f"{function.__module__}.{function.__qualname__}"] = function
        KINDS.update(dict.fromkeys(kinds))
        return function

    return register
