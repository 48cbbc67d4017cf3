"""Decides whether training may start: every finding of severity error must be fixed or ignored."""

from pathlib import Path
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.preflight.experiment_facts import facts_of
from tailproof.preflight.findings import findings


def blocking_message(manifest: str | Path, recipes: dict[str, Recipe], ignore: list[str]) -> str:
    """Return why training does not start, one line per error; empty if it may start.

    Args:
        manifest: shards/manifest.json.
        recipes: those of all experts and points.
        ignore: kinds of findings that do not stop training.
    """
    reported = [finding.to_jsonable() for finding in findings(facts_of(manifest, recipes))]
    blocking = blocking_findings(reported, ignore)
    if not blocking:
        return ""
    kinds = ", ".join(dict.fromkeys([*ignore, *(finding["kind"] for finding in blocking)]))
    lines = [sentence(finding) for finding in blocking]
    last = (
        "correct the experiment, or ignore these findings with 'preflight: "
        f"{{ignore: [{kinds}]}}' in its file"
    )
    return "\n  ".join(["training does not start:", *lines, last])


def blocking_findings(findings: list[dict[str, Any]], ignore: list[str]) -> list[dict[str, Any]]:
    """Return the findings that stop training, as plain values."""
    return [
        finding
        for finding in findings
        if finding["severity"] == "error" and finding["kind"] not in ignore
    ]


def sentence(finding: dict[str, Any]) -> str:
    """Return a finding as one sentence, with its kind and the experts concerned."""
    experts = finding["evidence"].get("experts", [])
    names = f" ({', '.join(experts[:5])}{', …' if len(experts) > 5 else ''})" if experts else ""
    return f"{finding['kind']}: {finding['title']}{names}"
