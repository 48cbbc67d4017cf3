"""What a diagnosis's record keeps of it, for the experiment log."""

from typing import Any

from tailproof.core.finding import Finding

KEPT = ("kind", "severity", "title", "change", "expects")


def results_of(findings: list[Finding]) -> list[dict[str, Any]]:
    """Return of each finding what it is, and what its change of the recipe should do."""
    plain = [finding.plain() for finding in findings]
    return [{name: each[name] for name in KEPT} for each in plain]
