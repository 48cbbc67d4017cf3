"""Whether training may start: no finding of the preflight is an error that is not accepted."""

from pathlib import Path
from typing import Any

from tailproof.core.errors import TailproofError
from tailproof.core.files import read_json, write_json

CLEARED = {"cleared": True}
"""What the file says, always: that it is there is all that training needs to know."""


def stopping(findings: list[dict[str, Any]], accept: list[str]) -> list[dict[str, Any]]:
    """Return the findings that stop a run, as plain values."""
    return [each for each in findings if each["severity"] == "error" and each["kind"] not in accept]


def clear(preflight: str | Path, probe: str | Path, accept: list[str], output: str | Path) -> None:
    """Write clearance.json.

    Args:
        preflight: preflight.json.
        probe: preflight_probe.json.
        accept: kinds of findings that do not stop.
        output: the file.

    Raises:
        TailproofError: one sentence for each error that is not accepted.
    """
    found = [*read_json(preflight)["findings"], *read_json(probe)["findings"]]
    wrong = stopping(found, accept)
    if wrong:
        kinds = ", ".join(dict.fromkeys(each["kind"] for each in wrong))
        lines = [sentence(each) for each in wrong]
        raise TailproofError(
            "\n  ".join(["training does not start:", *lines])
            + f"\n  mend the recipe, or start all the same by 'preflight: {{accept: [{kinds}]}}'"
        )
    write_json(output, CLEARED)


def sentence(finding: dict[str, Any]) -> str:
    """Return what a finding says, with its kind and whom it is about."""
    experts = finding["evidence"].get("experts", [])
    named = f" ({', '.join(experts[:5])}{', …' if len(experts) > 5 else ''})" if experts else ""
    return f"{finding['kind']}: {finding['title']}{named}"
