"""Changes of a recipe that findings recommend, as plain values to lay over it."""

from typing import Any

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.history import RunHistory

Change = dict[str, Any]


def stop_early(history: RunHistory, context: Context) -> Change:
    """Keep the best epoch, and stop a tenth of the run (at least 3 validations) after it."""
    length = context.recipe.epochs if context.recipe else history.done
    change: Change = {
        "export": "best",
        "early_stopping": {"patience": max(3, round(length / 10))},
    }
    return change


def regularise(context: Context) -> Change:
    """Augment, or where that is done already mix, and decay weights more."""
    recipe = context.recipe
    if recipe is None:
        return {"augmentation": {"flip": True, "crop_padding": 4}, "mixing": {"mixup": 0.2}} | _even
    change: Change = {}
    if not recipe.augmentation.crop_padding and not recipe.augmentation.albumentations:
        change["augmentation"] = {"crop_padding": 4}
    elif not (recipe.mixing.mixup or recipe.mixing.cutmix):
        change |= {"mixing": {"cutmix": 1.0, "probability": 0.5}} | _even
    decay = recipe.optimizer.weight_decay
    return change | {"optimizer": {"weight_decay": round(2 * decay, 8) if decay else 0.01}}


def soften(context: Context) -> Change:
    """Ask for less certainty: label smoothing where the loss has it, else mixing, up to a limit."""
    recipe = context.recipe
    if recipe is None or recipe.loss.name == "cross_entropy":
        smoothing = recipe.loss.label_smoothing if recipe else 0.0
        if smoothing >= 0.3:
            return {}
        return {"loss": {"name": "cross_entropy", "label_smoothing": min(smoothing + 0.1, 0.3)}}
    if recipe.mixing.mixup >= 1.0:
        return {}
    return {"mixing": {"mixup": min(recipe.mixing.mixup + 0.2, 1.0)}} | _even


def slower(history: RunHistory, context: Context, factor: float, **more: Any) -> Change:
    """Multiply the learning rate, where it is known."""
    rate = rate_of(history, context)
    change: Change = {"optimizer": {"learning_rate": float(f"{rate * factor:.2g}")}} if rate else {}
    return change | more


def warmed(context: Context) -> Change:
    """Return a warm-up of two epochs on the recipe's schedule, cosine where it has none.

    Nothing is changed where there is a warm-up of an epoch or more.
    """
    schedule = context.recipe.schedule if context.recipe else None
    if schedule and schedule.warmup and (schedule.warmup.epochs or 0) >= 1:
        return {}
    if schedule is None or schedule.name == "constant":
        return {"schedule": {"name": "cosine", "warmup": {"epochs": 2.0}}}
    return {"schedule": {"name": schedule.name, "warmup": {"epochs": 2.0, "steps": None}}}


def longer(history: RunHistory, context: Context, factor: float = 1.5) -> Change:
    """Train for so many times the epochs."""
    length = context.recipe.epochs if context.recipe else history.done
    return {"epochs": int(np.ceil(length * factor))}


def rate_of(history: RunHistory, context: Context) -> float | None:
    """Return the highest learning rate; None where neither history nor recipe says it."""
    rates = history.curve("learning_rate").values
    if len(rates) and rates.max() > 0:
        return float(rates.max())
    return context.recipe.optimizer.learning_rate if context.recipe else None


_even: Change = {"drop_last": True}
"""Mixing pairs images, which takes batches of an even size."""
