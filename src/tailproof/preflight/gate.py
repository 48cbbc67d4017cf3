"""Whether training may start: no finding of the preflight is an error that is not accepted."""

from pathlib import Path
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.preflight.experiment_facts import facts_of
from tailproof.preflight.findings import findings


def blocking_message(manifest: str | Path, recipes: dict[str, Recipe], ignore: list[str]) -> str:
    """Return why training does not start, a line for each error; nothing where it may.

    Args:
        manifest: shards/manifest.json.
        recipes: of all experts and points.
        ignore: kinds of findings that do not stop.
    """
    found = [each.to_jsonable() for each in findings(facts_of(manifest, recipes))]
    wrong = blocking_findings(found, ignore)
    if not wrong:
        return ""
    kinds = ", ".join(dict.fromkeys(each["kind"] for each in wrong))
    lines = [sentence(each) for each in wrong]
    last = f"mend the recipe, or train all the same by 'preflight: {{ignore: [{kinds}]}}'"
    return "\n  ".join(["training does not start:", *lines, last])


def blocking_findings(found: list[dict[str, Any]], ignore: list[str]) -> list[dict[str, Any]]:
    """Return the findings that stop a run, as plain values."""
    return [each for each in found if each["severity"] == "error" and each["kind"] not in ignore]


def sentence(finding: dict[str, Any]) -> str:
    """Return what a finding says, with its kind and whom it is about."""
    experts = finding["evidence"].get("experts", [])
    named = f" ({', '.join(experts[:5])}{', …' if len(experts) > 5 else ''})" if experts else ""
    return f"{finding['kind']}: {finding['title']}{named}"
