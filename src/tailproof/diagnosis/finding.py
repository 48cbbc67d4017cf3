"""A finding: one problem, the evidence for it, and a suggested fix."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One problem, or a fact worth knowing.

    Attributes:
        kind: its identifier.
        title: one sentence with the most important numbers.
        severity: error: stop; warning: it costs accuracy or time; info: for information.
        epochs: the epochs concerned, numbered as in the history; empty if no epoch is concerned.
        evidence: values and effect sizes by name; ``effect_in_noise`` is in standard deviations.
        confidence: from 0 to 1.
        cost: ``epochs_wasted`` and ``points_lost`` (0.01 is one point), where known.
        change: the suggested fix, a patch of the recipe as plain values; None where no recipe
            setting fixes the problem.
        expects: the expected effect of the change.
    """

    kind: str
    title: str
    severity: Severity
    epochs: tuple[int, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    confidence: float = 0.9
    cost: dict[str, float] = field(default_factory=dict)
    change: dict[str, Any] | None = None
    expects: str = ""

    def to_jsonable(self) -> dict[str, Any]:
        """Return the finding as JSON values; see `to_jsonable`."""
        return to_jsonable(asdict(self))

    @property
    def order(self) -> tuple[int, float, float, str]:
        """The sort key: the most severe first, then the most costly."""
        points, epochs = (self.cost.get(name, 0) for name in ("points_lost", "epochs_wasted"))
        return SEVERITIES.index(self.severity), -points, -epochs, self.kind


def for_record(finding: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a finding that the job record stores.

    These are the problem, the suggested change and its expected effect, and the experts concerned
    where the evidence names them.
    """
    fields = {name: finding[name] for name in ("kind", "severity", "title", "change", "expects")}
    experts = finding["evidence"].get("experts")
    return fields | ({"experts": experts} if experts else {})


def to_jsonable(value: Any) -> Any:
    """Return nested values as JSON values: floats have six digits, non-finite ones are None."""
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_jsonable(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def certainty(effect: float, threshold: float) -> float:
    """Return a confidence from 0.5 at the threshold to 0.99 far above it."""
    if not (math.isfinite(effect) and threshold > 0):
        return 0.99
    return float(np.clip(1 - 0.5 * (threshold / max(effect, threshold)) ** 1.5, 0.5, 0.99))
