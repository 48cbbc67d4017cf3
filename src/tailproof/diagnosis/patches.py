"""Recipe patches that findings suggest, as plain values."""

from typing import Any

import numpy as np

from tailproof.diagnosis.context import Context
from tailproof.diagnosis.history import RunHistory
from tailproof.losses import CrossEntropy

Change = dict[str, Any]


def stop_early(history: RunHistory, context: Context) -> Change:
    """Export the best epoch; stop a tenth of the run, at least 3 validations, after it."""
    length = context.recipe.epochs if context.recipe else history.done
    change: Change = {
        "export": "best",
        "early_stopping": {"patience": max(3, round(length / 10))},
    }
    return change


def regularise(context: Context) -> Change:
    """Augment, or mix where images are already augmented, and raise the weight decay."""
    recipe = context.recipe
    if recipe is None:
        return {
            "augmentation": {"flip": True, "crop_padding": 4},
            "mixing": {"mixup": 0.2},
        } | _EVEN_BATCHES
    change: Change = {}
    augmentation = recipe.augmentation
    if not (augmentation.crop_padding or augmentation.albumentations or augmentation.torchvision):
        change["augmentation"] = {"crop_padding": 4}
    elif not (recipe.mixing.mixup or recipe.mixing.cutmix):
        change |= {"mixing": {"cutmix": 1.0, "probability": 0.5}} | _EVEN_BATCHES
    decay = recipe.optimizer.weight_decay
    return change | {"optimizer": {"weight_decay": round(2 * decay, 8) if decay else 0.01}}


def soften(context: Context) -> Change:
    """Reduce confidence: more label smoothing where the loss has it, else more mixing."""
    recipe = context.recipe
    loss = CrossEntropy() if recipe is None else recipe.loss
    if isinstance(loss, CrossEntropy):
        smoothing = loss.label_smoothing
        if smoothing >= 0.3:
            return {}
        return {"loss": {"name": "cross_entropy", "label_smoothing": min(smoothing + 0.1, 0.3)}}
    if recipe is None or recipe.mixing.mixup >= 1.0:
        return {}
    return {"mixing": {"mixup": min(recipe.mixing.mixup + 0.2, 1.0)}} | _EVEN_BATCHES


def slower(history: RunHistory, context: Context, factor: float, **more: Any) -> Change:
    """Scale the learning rate, where it is known."""
    rate = rate_of(history, context)
    change: Change = {"optimizer": {"learning_rate": float(f"{rate * factor:.2g}")}} if rate else {}
    return change | more


def warmed(context: Context) -> Change:
    """Add a warm-up of two epochs to the recipe's schedule, or to cosine where it is constant.

    A warm-up of an epoch or more is not changed.
    """
    schedule = context.recipe.schedule if context.recipe else None
    if schedule and schedule.warmup and (schedule.warmup.epochs or 0) >= 1:
        return {}
    if schedule is None or schedule.name == "constant":
        return {"schedule": {"name": "cosine", "warmup": {"epochs": 2.0}}}
    return {"schedule": {"name": schedule.name, "warmup": {"epochs": 2.0, "steps": None}}}


def longer(history: RunHistory, context: Context, factor: float = 1.5) -> Change:
    """Train for `factor` times the epochs."""
    length = context.recipe.epochs if context.recipe else history.done
    return {"epochs": int(np.ceil(length * factor))}


def prepare_alike(context: Context) -> Change:
    """Remove what makes val differ from train: averaged weights, pixel transforms, another size."""
    recipe, change = context.recipe, dict[str, Any]()
    if recipe is None:
        return change
    if recipe.ema:
        change["ema"] = None
    if recipe.augmentation.albumentations:
        change["augmentation"] = {"albumentations": []}
    if recipe.eval_image_size and recipe.eval_image_size != recipe.timeline[-1].image_size:
        change["eval_image_size"] = None
    return change


def rate_of(history: RunHistory, context: Context) -> float | None:
    """Return the highest learning rate; None where neither history nor recipe has it."""
    rates = history.curve("learning_rate").values
    if len(rates) and rates.max() > 0:
        return float(rates.max())
    return context.recipe.optimizer.learning_rate if context.recipe else None


_EVEN_BATCHES: Change = {"drop_last": True}
"""Mixing pairs the images of a batch, so every batch needs an even size."""
