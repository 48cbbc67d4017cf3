"""The kinds of findings about runs, and how sure one is."""

import math

import numpy as np

KINDS = (
    "not_finite",
    "divergence",
    "near_chance",
    "score_collapse",
    "bad_resume",
    "repeated_epochs",
    "seen_more_than_once",
    "best_against_last",
    "overfitting",
    "overconfidence",
    "widening_gap",
    "memorisation",
    "nearly_binary_scores",
    "regime_change",
    "underfitting",
    "rate_too_high",
    "rate_too_low",
    "still_improving",
    "target_missed",
    "sweep_ceiling",
    "costly_regularisation",
    "head_tail_trade_off",
    "calibration_drift",
    "experts_too_alike",
    "difference_inside_noise",
)
"""Every kind of finding."""


def certainty(effect: float, threshold: float) -> float:
    """Return a confidence from 0.5 at the threshold to 0.99 far above it."""
    if not (math.isfinite(effect) and threshold > 0):
        return 0.99
    return float(np.clip(1 - 0.5 * (threshold / max(effect, threshold)) ** 1.5, 0.5, 0.99))
