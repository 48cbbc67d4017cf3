"""Whether a learning-rate schedule is at its end, from the rates of the epochs or the recipe."""

from typing import Literal

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.history import RunHistory

LOW = 0.2
"""A rate below this share of its highest value has come down."""


def rate_at_end(history: RunHistory, context: Context) -> Literal["high", "low", "moving"]:
    """Return where the learning rate stands in the last epoch.

    Returns:
        high: it is as high as ever, or unknown; low: it has come down and stays; moving: its
        schedule is not at its end yet.
    """
    rates = history.curve("learning_rate").values
    planned = context.recipe.epochs if context.recipe else None
    whole = planned is not None and history.done >= planned
    if len(rates) < 2 or rates.max() <= 0:
        if context.recipe is None or context.recipe.schedule.name not in ("cosine", "multistep"):
            return "high"
        return "low" if whole else "moving"
    shares = rates / rates.max()
    if whole or not _moves(shares):
        return "low" if shares[-1] < LOW else "high"
    return "low" if shares[-1] < LOW and _arrives(shares) else "moving"


def begins(history: RunHistory, context: Context) -> bool:
    """Return whether less than half of the run is known to be over."""
    if context.continues_after(2 * history.done):
        return True
    rates = history.curve("learning_rate").values
    falling = rate_at_end(history, context) == "moving" and len(rates) > 0
    return falling and bool(rates[-1] > 0.5 * rates.max())


def last_change(history: RunHistory) -> int:
    """Return the first epoch of the last learning rate; the first epoch if it is unknown."""
    changes = history.curve("learning_rate").turns
    return changes[-1] if changes else int(history.epochs[0])


def _moves(shares: np.ndarray) -> bool:
    """Return whether the rate changes from epoch to epoch at the end."""
    return bool((np.abs(np.diff(shares[-4:])) > 1e-9).all())


def _arrives(shares: np.ndarray) -> bool:
    """Return whether a falling rate would reach its end with about one more epoch.

    A cosine hardly changes at its end, whatever its floor; from few epochs its angle shows it. A
    line or a power of it reaches 0.
    """
    if len(shares) < 4 or shares[-1] >= shares[-2]:
        return False
    before, last = -np.diff(shares[-3:])
    if last < 0.15 * -np.diff(shares).min():
        return True
    angle_before, angle = np.arccos(2 * shares[-2:] - 1) / np.pi
    line = last > 0.9 * before and shares[-1] < 1.5 * last
    return bool(line or angle + 1.5 * (angle - angle_before) > 0.97)
