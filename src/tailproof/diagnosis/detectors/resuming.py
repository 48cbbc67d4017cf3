"""Detectors of what goes wrong between attempts of one run, and within an epoch's samples."""

from collections import Counter

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve, noise_of
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.registry import detector

JUMP = 6.0
"""A loss rises by so many times its noise where an attempt lost something."""
TIMES = 2.0
"""It also rises by so many times what it ever does elsewhere: some runs have spikes anywhere."""


@detector("repeated_epochs")
def repeated_epochs(history: RunHistory, context: Context) -> list[Finding]:
    """Tell of epochs that were trained again, because an attempt started before where it was."""
    counts = Counter(history.passed)
    again = sorted(epoch for epoch, count in counts.items() if count > 1)
    if not again:
        return []
    wasted = len(history.passed) - len(counts)
    starts = _starts(history)
    anew = sum(start == history.passed[0] for start in starts)
    words = (
        f"; {anew + 1} attempts started at epoch {history.passed[0]}: the checkpoint of the one "
        "before was not found"
        if anew
        else ""
    )
    return [
        Finding(
            "repeated_epochs",
            f"{wasted} epochs were trained again{words}.",
            "error" if anew else "warning",
            tuple(again),
            {"passes": len(history.passed), "epochs": len(counts), "starts": starts},
            0.99,
            {"epochs_wasted": wasted},
            None,
            "with resume states found by content, as tailproof's, an attempt goes on where the one "
            "before it stopped",
        )
    ]


@detector("bad_resume", explains={"bad_resume": ("divergence", "rate_too_high")})
def bad_resume(history: RunHistory, context: Context) -> list[Finding]:
    """Tell of a loss that jumps where an attempt begins as it does nowhere else."""
    starts, found = _boundaries(history, context), []
    for start in starts:
        for name in ("train_loss", "val_loss"):
            curve = history.curve(name)
            at = int(np.searchsorted(curve.epochs, start))
            jump, noise = _jump(curve.values, at)
            if jump > JUMP * noise and jump > TIMES * _largest_rise(curve, starts, at):
                found.append((jump / noise, start, name, jump, float(curve.values[at])))
                break
    if not found:
        return []
    effect, start, name, jump, value = max(found)
    rates = history.curve("learning_rate")
    back = int((history.curve(name).since(start).values > value - 0.5 * jump).sum())
    return [
        Finding(
            "bad_resume",
            f"{name} jumps by {jump:.3g} to {value:.4g} where an attempt begins, at epoch {start}: "
            "what was learnt, or the optimizer's state, did not come along.",
            "error",
            tuple(sorted({each[1] for each in found})),
            {
                "metric": name,
                "jump": jump,
                "effect_in_noise": effect,
                "learning_rate": rates.at(start) if len(rates) else None,
                "learning_rate_before": rates.at(start - 1) if len(rates) else None,
            },
            certainty(effect, JUMP),
            {"epochs_wasted": back},
            None,
            "an attempt that loads weights, optimizer, schedule and random state shows no jump",
        )
    ]


@detector("seen_more_than_once")
def seen_more_than_once(history: RunHistory, context: Context) -> list[Finding]:
    """Tell of an epoch that delivers more samples than there are."""
    counted = history.curve("samples")
    delivered = float(np.median(counted.values)) if len(counted) else context.delivered
    if not delivered or not context.train_samples:
        return []
    times = delivered / context.train_samples
    if times < 1.05:
        return []
    return [
        Finding(
            "seen_more_than_once",
            f"An epoch delivers {delivered:,.0f} samples of {context.train_samples:,}: each is "
            f"seen {times:.3g} times.",
            "error",
            (int(history.epochs[0]), history.last),
            {"delivered": delivered, "train_samples": context.train_samples, "times": times},
            0.99,
            {"epochs_wasted": len(history.epochs) * (1 - 1 / times)},
            None,
            "loader workers that share the shards of their rank deliver each sample once; epochs "
            f"are then {times:.3g} times shorter",
        )
    ]


def _jump(values: np.ndarray, at: int) -> tuple[float, float]:
    """Return how far a loss lies above where it was going, and the noise before it.

    No jump is what comes after fewer than two epochs, is less than a tenth, or falls.
    """
    if at < 2 or at >= len(values) or len(values) < 4:
        return 0.0, 1.0
    before, last, value = values[max(at - 4, 0) : at], float(values[at - 1]), float(values[at])
    jump = value - last - min(float(np.median(np.diff(before))), 0.0)
    if value <= last or jump <= 0.1 * last:
        return 0.0, 1.0
    return jump, max(noise_of(before), noise_of(values[:at]), 0.015 * (last or value))


def _largest_rise(curve: Curve, starts: list[int], at: int) -> float:
    """Return the largest relative rise where no attempt begins, times the level before `at`."""
    before, after = curve.values[:-1], curve.values[1:]
    elsewhere = ~np.isin(curve.epochs[1:], starts) & (before > 0)
    rises = after[elsewhere] / before[elsewhere] - 1
    return float(rises.max(initial=0.0) * curve.values[at - 1])


def _starts(history: RunHistory) -> list[int]:
    """Return the epochs at which `passed` goes back."""
    pairs = zip(history.passed, history.passed[1:], strict=False)
    return [later for earlier, later in pairs if later <= earlier]


def _boundaries(history: RunHistory, context: Context) -> list[int]:
    """Return the first epoch of each attempt after the first, and of what was taken over."""
    own = history.curve("attempt")
    if len(own):
        return own.turns
    if _starts(history):
        return _starts(history)
    if context.taken_over is None:
        return []
    return [context.taken_over - 1 + history.origin]
