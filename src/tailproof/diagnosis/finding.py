"""What a detector says: one fault, with its evidence, its cost and a change to try."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

KINDS = {
    "not_finite": "a loss is not a number or infinite",
    "divergence": "the training loss rises and stays high",
    "near_chance": "it answers hardly better than by chance",
    "score_collapse": "found at low false-positive rates: nothing, while AUROC stands",
    "bad_resume": "an attempt does not go on where the one before it was",
    "repeated_epochs": "epochs are trained again",
    "seen_more_than_once": "an epoch delivers samples several times",
    "best_against_last": "the last epoch is worse than the best one",
    "overfitting": "validation gets worse while training gets better",
    "overconfidence": "validation loss rises, the decisions do not get worse",
    "widening_gap": "training runs away from validation",
    "memorisation": "training images are known by heart",
    "nearly_binary_scores": "scores take two values, so that no threshold chooses",
    "regime_change": "train and val change places where a phase begins",
    "underfitting": "training itself stays low",
    "rate_too_high": "the training loss jumps about",
    "rate_too_low": "the training loss crawls",
    "still_improving": "the run ends while it still gains",
    "target_missed": "what the experiment expects is not reached",
    "sweep_ceiling": "no point of a sweep comes near the target",
    "costly_regularisation": "regularisation costs more than it brings",
    "head_tail_trade_off": "one expert is better in all samples, another in the rare classes",
    "calibration_drift": "calibration does not hold on another split",
    "experts_too_alike": "experts are too alike for an ensemble to gain",
    "difference_inside_noise": "one seed each does not tell them apart",
}
"""Every kind of finding, and what it says in a few words."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run, or with several together.

    Attributes:
        kind: one of `KINDS`.
        title: a sentence with the numbers that matter.
        severity: error: the run is not to be used; warning: it costs points or time.
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

    def plain(self) -> dict[str, Any]:
        """Return values that JSON takes; numbers have six digits, none is NaN."""
        return _plain(asdict(self))

    @property
    def order(self) -> tuple[int, float, float, str]:
        """Sort by it: the worst first, among equals what costs most."""
        points, epochs = (self.cost.get(name, 0) for name in ("points_lost", "epochs_wasted"))
        return SEVERITIES.index(self.severity), -points, -epochs, self.kind


def certainty(effect: float, threshold: float) -> float:
    """Return a confidence from 0.5 at the threshold to 0.99 far above it."""
    if not (math.isfinite(effect) and threshold > 0):
        return 0.99
    return float(np.clip(1 - 0.5 * (threshold / max(effect, threshold)) ** 1.5, 0.5, 0.99))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
