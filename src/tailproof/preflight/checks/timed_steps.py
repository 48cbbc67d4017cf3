"""The finding about runs whose first steps fail while the preflight times them."""

from tailproof.diagnosis.finding import Finding
from tailproof.preflight.registry import reports


@reports("probe_failed")
def failed_steps(failures: dict[str, list[str]]) -> list[Finding]:
    """Return one finding per reason.

    Args:
        failures: the experts that fail, by reason.
    """
    return [
        Finding("probe_failed", reason, "error", evidence={"experts": experts}, confidence=1.0)
        for reason, experts in failures.items()
    ]
