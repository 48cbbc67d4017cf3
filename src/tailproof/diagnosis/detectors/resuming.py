"""Detectors of problems between the attempts of a run, and of repeated samples."""

from collections import Counter

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve, noise_of
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.registry import detector
from tailproof.text import quantity

JUMP = 6.0
"""A jump of the loss by this many times its noise shows that an attempt lost its state."""
TIMES = 2.0
"""The jump also exceeds the largest rise elsewhere by this factor: some runs have spikes."""


@detector("repeated_epochs")
def repeated_epochs(history: RunHistory, context: Context) -> list[Finding]:
    """Find epochs that were trained again because an attempt started too early."""
    counts = Counter(history.passed)
    repeated = sorted(epoch for epoch, count in counts.items() if count > 1)
    if not repeated:
        return []
    wasted = len(history.passed) - len(counts)
    starts = _starts(history)
    restarts = sum(start == history.passed[0] for start in starts)
    words = (
        f"; {restarts + 1} attempts started at epoch {history.passed[0]}: the previous checkpoint "
        "was not found"
        if restarts
        else ""
    )
    return [
        Finding(
            "repeated_epochs",
            f"{quantity(wasted, 'epoch')} {'was' if wasted == 1 else 'were'} trained again{words}.",
            "error" if restarts else "warning",
            tuple(repeated),
            {"passes": len(history.passed), "epochs": len(counts), "starts": starts},
            0.99,
            {"epochs_wasted": wasted},
            None,
            "an attempt resumes where the previous one stopped, as with tailproof's checkpoints, "
            "which are found by content",
        )
    ]


@detector("bad_resume", explains={"bad_resume": ("divergence", "rate_too_high")})
def bad_resume(history: RunHistory, context: Context) -> list[Finding]:
    """Find a loss that jumps where an attempt begins, and nowhere else."""
    starts, jumps = _boundaries(history, context), []
    for start in starts:
        for name in ("train_loss", "val_loss"):
            curve = history.curve(name)
            at = int(np.searchsorted(curve.epochs, start))
            jump, noise = _jump(curve.values, at)
            if jump > JUMP * noise and jump > TIMES * _largest_rise(curve, starts, at):
                jumps.append((jump / noise, start, name, jump, float(curve.values[at])))
                break
    if not jumps:
        return []
    effect, start, name, jump, value = max(jumps)
    rates = history.curve("learning_rate")
    back = int((history.curve(name).since(start).values > value - 0.5 * jump).sum())
    return [
        Finding(
            "bad_resume",
            f"{name} jumps by {jump:.3g} to {value:.4g} where an attempt begins, at epoch {start}: "
            "weights or optimizer state were not restored.",
            "error",
            tuple(sorted({entry[1] for entry in jumps})),
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
            "an attempt that restores weights, optimizer, schedule and random state has no jump",
        )
    ]


@detector("seen_more_than_once")
def seen_more_than_once(history: RunHistory, context: Context) -> list[Finding]:
    """Find epochs that deliver more samples than the split train has."""
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
            f"An epoch delivers {delivered:,.0f} samples, but train has "
            f"{context.train_samples:,}: each is seen {times:.3g} times.",
            "error",
            (int(history.epochs[0]), history.last),
            {"delivered": delivered, "train_samples": context.train_samples, "times": times},
            0.99,
            {"epochs_wasted": len(history.epochs) * (1 - 1 / times)},
            None,
            "loader workers that divide the shards of their process rank deliver each sample once; "
            f"epochs become {times:.3g} times shorter",
        )
    ]


def _jump(values: np.ndarray, at: int) -> tuple[float, float]:
    """Return by how much a loss exceeds its trend, and the noise before it.

    After fewer than two epochs, below a tenth, or for a falling loss there is no jump.
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
    """Return the epochs at which the order of training goes back."""
    pairs = zip(history.passed, history.passed[1:], strict=False)
    return [later for earlier, later in pairs if later <= earlier]


def _boundaries(history: RunHistory, context: Context) -> list[int]:
    """Return the first epochs of later attempts, or the first one after a state taken over."""
    attempts = history.curve("attempt")
    if len(attempts):
        return attempts.turns
    if _starts(history):
        return _starts(history)
    if context.taken_over is None:
        return []
    return [context.taken_over - 1 + history.origin]
