"""What a stage says that looked for faults: one fault, its evidence and a change to try."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth to know.

    Attributes:
        kind: its name, the same each time.
        title: a sentence with the numbers that matter.
        severity: error: stop; warning: it costs points or time; info: know it.
        epochs: that it is about, counted as the history counts; empty where it is about none.
        evidence: values and sizes of effects by name; those in noise are ``effect_in_noise``.
        confidence: from 0 to 1.
        cost: ``epochs_wasted``, ``points_lost`` (1 is a hundredth), as far as known.
        change: what to lay over the recipe, as plain values; None where no recipe mends it.
        expects: what the change should do.
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
        """Return values that JSON takes; numbers have six digits, none is NaN."""
        return to_jsonable(asdict(self))

    @property
    def order(self) -> tuple[int, float, float, str]:
        """Sort by it: the worst first, among equals what costs most."""
        points, epochs = (self.cost.get(name, 0) for name in ("points_lost", "epochs_wasted"))
        return SEVERITIES.index(self.severity), -points, -epochs, self.kind


def for_record(finding: dict[str, Any]) -> dict[str, Any]:
    """Return of a finding as plain values what a record keeps of it.

    That is what is wrong, the change that is recommended, and what it should do; and the experts
    that it is about, where its evidence names them.
    """
    kept = {name: finding[name] for name in ("kind", "severity", "title", "change", "expects")}
    experts = finding["evidence"].get("experts")
    return kept | ({"experts": experts} if experts else {})


def to_jsonable(value: Any) -> Any:
    """Return nested values as JSON takes them; numbers have six digits, one not finite is None."""
    if isinstance(value, dict):
        return {str(key): to_jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_jsonable(each) for each in value]
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
