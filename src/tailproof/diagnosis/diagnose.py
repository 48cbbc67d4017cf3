"""All detectors over one history."""

from collections.abc import Callable

from tailproof.core.finding import Finding
from tailproof.diagnosis import attempts, learning, low_fpr, overfitting, phases, targets
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.history import History

Detector = Callable[[History, Context], list[Finding]]

DETECTORS: tuple[Detector, ...] = (
    learning.not_finite,
    learning.divergence,
    learning.stuck,
    learning.rate_too_high,
    learning.rate_too_low,
    learning.still_improving,
    low_fpr.score_collapse,
    low_fpr.nearly_binary_scores,
    overfitting.best_against_last,
    overfitting.rising_loss,
    overfitting.widening_gap,
    overfitting.memorisation,
    attempts.bad_resume,
    attempts.repeated_epochs,
    attempts.seen_more_than_once,
    phases.regime_change,
    targets.target_missed,
)

EXPLAINED = {
    "not_finite": {"divergence", "rate_too_high", "best_against_last", "near_chance"},
    "bad_resume": {"divergence", "rate_too_high"},
    "divergence": {"rate_too_high", "best_against_last", "overfitting", "overconfidence",
                   "near_chance", "underfitting"},
    "rate_too_low": {"still_improving", "underfitting", "near_chance"},
    "near_chance": {"still_improving"},
}  # fmt: skip
"""What a finding is the cause of, so that it is not told twice; the first that holds wins."""


def diagnose(history: History, context: Context | None = None) -> list[Finding]:
    """Return what is wrong with a run, the worst and the dearest first; nothing if it is healthy.

    Args:
        history: of a run that has ended or still goes on.
        context: what else is known of it.
    """
    context = context or Context()
    found = [finding for detector in DETECTORS for finding in detector(history, context)]
    kinds = {finding.kind for finding in found}
    for cause, effects in EXPLAINED.items():
        if cause in kinds:
            kinds -= effects
    return sorted((each for each in found if each.kind in kinds), key=lambda each: each.order)
