"""Detectors of changes where a phase of training begins."""

import numpy as np

from tailproof.config.augmentation import Augmentation
from tailproof.config.recipe import Recipe
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.curves import Curve
from tailproof.diagnosis.finding import Finding, certainty
from tailproof.diagnosis.history import RunHistory
from tailproof.diagnosis.patches import Change
from tailproof.diagnosis.registry import detector

WINDOW = 5
LEAST = 0.04
TIMES = 4.0


@detector("regime_change")
def regime_change(history: RunHistory, context: Context) -> list[Finding]:
    """Find a phase in which train starts to run ahead of val.

    A new image size or rate moves train and val together. Removing augmentation, which val never
    has, does not.
    """
    pairs = history.pairs()
    if not pairs:
        return []
    train, val = pairs[-1]
    gap = Curve("gap", train.epochs, train.values - val.values)
    noise = max(gap.noise, 0.002)
    changes = []
    for start in _boundaries(history, context):
        before = gap.values[gap.epochs < start][-WINDOW:]
        after = gap.values[gap.epochs >= start][1 : 1 + WINDOW]
        if len(before) < 2 or len(after) < 2:
            continue
        drift = _drift(gap, start)
        change = float(np.median(after) - np.median(before)) - max(drift, 0.0)
        error = noise * np.sqrt(1 / len(before) + 1 / len(after))
        if change > LEAST and change > TIMES * error:
            changes.append((change, change / error, start, np.median(before), gap.values[-1]))
    if not changes:
        return []
    change, effect, start, before, last = max(changes)
    turned = before < 0 < last
    return [
        Finding(
            "regime_change",
            f"From the phase at epoch {start} on, train "
            + ("overtakes val" if turned else "runs ahead of val")
            + f": the difference changes from {100 * before:+.0f} to {100 * last:+.0f} points.",
            "warning",
            (start,),
            {
                "gap_before": before,
                "gap_change": change,
                "gap_at_end": last,
                "noise": noise,
                "effect_in_noise": effect,
            },
            certainty(effect, TIMES),
            {},
            augmented(context.recipe, start + 1 - history.origin) if context.recipe else None,
            "train and val keep their order in the phase; to evaluate at another size, set "
            "'eval_image_size' instead",
        )
    ]


def augmented(recipe: Recipe, epoch: int) -> Change | None:
    """Return the recipe's phases with augmentation in the one nearest to an epoch.

    None where that phase already has augmentation, or where no other phase has it.
    """
    if not recipe.phases:
        return None
    timeline, bare = recipe.timeline, Augmentation()
    nearest = min(range(len(timeline)), key=lambda i: abs(timeline[i].from_epoch - epoch))
    if timeline[nearest].augmentation != bare:
        return None
    others = [phase.augmentation for phase in timeline if phase.augmentation != bare]
    if not others:
        return None
    phases = []
    for number, phase in enumerate(recipe.phases):
        plain = phase.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        if number == nearest:
            plain["augmentation"] = others[-1].model_dump(mode="json", exclude_defaults=True)
        phases.append(plain)
    return {"phases": phases}


def _boundaries(history: RunHistory, context: Context) -> list[int]:
    """Return the first epochs of phases, from the recipe or else from a column."""
    if context.recipe and context.recipe.phases:
        shift = 1 - history.origin
        return [phase.from_epoch - shift for phase in context.recipe.phases[1:]]
    for name in ("phase", "image_size", "resolution", "img_size"):
        column = history.curve(name)
        if len(column):
            return column.turns
    return []


def _drift(gap: Curve, start: int) -> float:
    """Return the growth of the gap that the earlier epochs predict."""
    before = gap.epochs < start
    epochs, values = gap.epochs[before][-2 * WINDOW :], gap.values[before][-2 * WINDOW :]
    if len(epochs) < 6:
        return 0.0
    slope = float(np.polynomial.Polynomial.fit(epochs, values, 1).convert().coef[-1])
    return slope * WINDOW
