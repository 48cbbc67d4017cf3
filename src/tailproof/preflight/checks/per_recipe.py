"""Checks that look at one recipe after the other."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.digests import digest_of
from tailproof.preflight.experiment_facts import ExperimentFacts

Check = Callable[[ExperimentFacts], list[Finding]]


def each_recipe(check: Callable[[Recipe, ExperimentFacts], Finding | None]) -> Check:
    """Make a check of one recipe one of all: what several share is told once, with their names."""

    @wraps(check)
    def of_all(facts: ExperimentFacts) -> list[Finding]:
        found: dict[str, Finding] = {}
        names: dict[str, list[str]] = {}
        for name, recipe in facts.recipes.items():
            finding = check(recipe, facts)
            if finding:
                key = digest_of(finding.to_jsonable())
                found[key] = finding
                names.setdefault(key, []).append(name)
        return [
            replace(finding, evidence={"experts": names[key], **finding.evidence})
            for key, finding in found.items()
        ]

    return of_all
