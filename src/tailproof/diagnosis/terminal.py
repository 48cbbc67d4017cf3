"""Prints findings in a terminal."""

from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from tailproof.diagnosis.finding import Finding

_COLOURS = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def print_findings(findings_by_run: dict[str, list[Finding]], console: Console) -> None:
    """Print the findings of each run: title, epochs, evidence, cost, and the change as YAML."""
    for name, findings in findings_by_run.items():
        if len(findings_by_run) > 1:
            console.print(f"[bold]{escape(name) or 'all runs'}[/bold]")
        if not findings:
            console.print("nothing found")
        for finding in findings:
            _print(finding, console)


def patch(finding: Finding) -> str:
    """Return the suggested change as YAML for an experiment; empty if there is none."""
    if finding.change is None:
        return ""
    change = finding.to_jsonable()["change"]
    return yaml.safe_dump({"recipe": change}, sort_keys=False, allow_unicode=True).rstrip()


def epochs_of(finding: Finding) -> str:
    """Format epochs as ``5``, ``5, 7`` or, if there are many, ``5 … 40 (36)``."""
    epochs = finding.epochs
    texts = [str(epoch) for epoch in epochs]
    return ", ".join(texts) if len(texts) <= 4 else f"{texts[0]} … {texts[-1]} ({len(texts)})"


def details(values: dict[str, Any]) -> str:
    """Format names and numbers on one line; unknown values are left out."""
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}"
        for name, value in values.items()
        if value is not None and not isinstance(value, dict)
    )


def _print(finding: Finding, console: Console) -> None:
    colour = _COLOURS[finding.severity]
    console.print(f"[{colour}]{finding.severity}[/{colour}]  [bold]{escape(finding.title)}[/bold]")
    plain = finding.to_jsonable()
    lines = [f"{finding.kind}, {100 * finding.confidence:.0f} % sure"]
    if finding.epochs:
        lines[0] += f", epochs {epochs_of(finding)}"
    if evidence := details(plain["evidence"]):
        lines.append(f"evidence: {evidence}")
    if cost := details(plain["cost"]):
        lines.append(f"cost: {cost}")
    if finding.expects:
        lines.append(f"expected: {finding.expects}")
    console.print(Padding(escape("\n".join(lines)), (0, 0, 0, 4)))
    if text := patch(finding):
        console.print(Padding(escape(text), (0, 0, 0, 8)), style="green")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        shown = ", ".join(_value(item) for item in value[:6])
        return f"[{shown}{', …' if len(value) > 6 else ''}]"
    return str(value)
