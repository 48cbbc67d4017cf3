"""All comparisons of several runs: points of a sweep, experts, seeds."""

from tailproof.diagnosis.detectors import *  # noqa: F403 - registers the built-in comparisons
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.registry import COMPARISONS
from tailproof.diagnosis.run_set import RunSet


def compare(runs: RunSet) -> list[Finding]:
    """Return what the runs show together, the most severe finding first."""
    findings = [finding for compare_runs in COMPARISONS.values() for finding in compare_runs(runs)]
    return sorted(findings, key=lambda finding: finding.order)
