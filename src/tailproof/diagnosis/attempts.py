"""Detectors of what goes wrong between attempts of one run, and within an epoch's samples."""

from collections import Counter

import numpy as np

from tailproof.core.finding import Finding
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.history import History
from tailproof.diagnosis.kinds import certainty
from tailproof.diagnosis.noise import noise_of

JUMP = 6.0


def repeated_epochs(history: History, context: Context) -> list[Finding]:
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


def bad_resume(history: History, context: Context) -> list[Finding]:
    """Tell of a loss that jumps where an attempt begins, against how it moves elsewhere."""
    found = []
    for start in _boundaries(history, context):
        for name in ("train_loss", "val_loss"):
            curve = history.curve(name)
            at = int(np.searchsorted(curve.epochs, start))
            if at < 2 or at >= len(curve) or len(curve) < 4:
                continue
            before = curve.values[max(at - 4, 0) : at]
            slope = float(np.median(np.diff(before)))
            expected = float(before[-1]) + min(slope, 0.0)
            jump = float(curve.values[at]) - expected
            level = float(before[-1]) or float(curve.values[at])
            noise = max(noise_of(before), noise_of(curve.values[:at]), 0.015 * level)
            least = 0.1 * float(before[-1])
            if jump > JUMP * noise and jump > least and curve.values[at] > before[-1]:
                found.append((jump / noise, start, name, jump, expected, curve.values[at]))
                break
    if not found:
        return []
    effect, start, name, jump, _, value = max(found)
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


def seen_more_than_once(history: History, context: Context) -> list[Finding]:
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


def _starts(history: History) -> list[int]:
    """Return the epochs at which `passed` goes back."""
    pairs = zip(history.passed, history.passed[1:], strict=False)
    return [later for earlier, later in pairs if later <= earlier]


def _boundaries(history: History, context: Context) -> list[int]:
    """Return the first epoch of each attempt after the first that is part of the history."""
    own = history.curve("attempt")
    if len(own):
        return own.turns
    if _starts(history):
        return _starts(history)
    shift = 1 - history.origin
    return [epoch - shift for epoch in context.resumed]
