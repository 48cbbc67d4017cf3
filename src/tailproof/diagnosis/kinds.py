"""The kinds of findings about runs, and how sure one is."""

import math

import numpy as np

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


def certainty(effect: float, threshold: float) -> float:
    """Return a confidence from 0.5 at the threshold to 0.99 far above it."""
    if not (math.isfinite(effect) and threshold > 0):
        return 0.99
    return float(np.clip(1 - 0.5 * (threshold / max(effect, threshold)) ** 1.5, 0.5, 0.99))
