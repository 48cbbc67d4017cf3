"""The checks before training: functions that register themselves, with the kinds they report.

A check is one function in a file of `tailproof.preflight.checks`, or of a project's folder
`extensions`:

    @check("odd_batch")
    @each_recipe
    def odd_batch(recipe, facts):
        ...
        return Finding("odd_batch", ...)
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import TypeVar

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.digests import digest_of
from tailproof.preflight.experiment_facts import ExperimentFacts

Check = Callable[[ExperimentFacts], list[Finding]]
Function = TypeVar("Function", bound=Callable)

CHECKS: dict[str, Check] = {}
"""Checks of configuration and data, by module and name."""

KINDS: dict[str, None] = {}
"""Every kind of finding of the preflight, in the order of registration."""


def check(*kinds: str) -> Callable[[Check], Check]:
    """Register a check of configuration and data.

    Args:
        kinds: the kinds of findings that it reports.
    """

    def register(function: Check) -> Check:
        CHECKS[f"{function.__module__}.{function.__qualname__}"] = function
        return reports(*kinds)(function)

    return register


def reports(*kinds: str) -> Callable[[Function], Function]:
    """Register the kinds of findings of a function that the preflight calls by itself."""

    def register(function: Function) -> Function:
        KINDS.update(dict.fromkeys(kinds))
        return function

    return register


def each_recipe(check_recipe: Callable[[Recipe, ExperimentFacts], Finding | None]) -> Check:
    """Apply a check of one recipe to all; experts with the same finding share it."""

    @wraps(check_recipe)
    def check_recipes(facts: ExperimentFacts) -> list[Finding]:
        findings: dict[str, Finding] = {}
        experts: dict[str, list[str]] = {}
        for name, recipe in facts.recipes.items():
            finding = check_recipe(recipe, facts)
            if finding:
                key = digest_of(finding.to_jsonable())
                findings[key] = finding
                experts.setdefault(key, []).append(name)
        return [
            replace(finding, evidence={"experts": experts[key], **finding.evidence})
            for key, finding in findings.items()
        ]

    return check_recipes


def each_trained_recipe(
    check_recipe: Callable[[Recipe, ExperimentFacts], Finding | None],
) -> Check:
    """Apply a check as `each_recipe` does, but not to heads that are fitted in one pass.

    These ignore the optimizer, the schedule, the sampler and the number of epochs.
    """

    @each_recipe
    @wraps(check_recipe)
    def check_trained(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
        return None if recipe.is_fitted else check_recipe(recipe, facts)

    return check_trained
