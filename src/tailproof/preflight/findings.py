"""All findings of the preflight about configuration and data, and the names to ignore them by."""

from tailproof.diagnosis.finding import SEVERITIES, Finding
from tailproof.preflight.checks import *  # noqa: F403 - registers the built-in checks
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.registry import CHECKS, KINDS
from tailproof.runtime.errors import TailproofError, suggestion


def findings(facts: ExperimentFacts) -> list[Finding]:
    """Return the findings of every check, the most severe first."""
    reported = [finding for run_check in CHECKS.values() for finding in run_check(facts)]
    return sorted(reported, key=lambda finding: SEVERITIES.index(finding.severity))


def validate_ignore(ignore: list[str], config: str) -> None:
    """Check the names under `preflight.ignore`.

    Args:
        ignore: kinds of findings.
        config: the configuration file, for the message.

    Raises:
        TailproofError: a name is not a kind of finding.
    """
    for kind in ignore:
        if kind not in KINDS:
            raise TailproofError(
                f"{config}, field 'preflight.ignore': '{kind}' is not a kind of finding"
                f"{suggestion(kind, KINDS)}; expected some of {', '.join(sorted(KINDS))}"
            )
