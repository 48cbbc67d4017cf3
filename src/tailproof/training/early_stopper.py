"""Tracks the best epoch and decides when to stop early."""

import math
from typing import Any

from torch import Tensor

from tailproof.config.recipe import Recipe
from tailproof.history import improves
from tailproof.monitors import MONITORS
from tailproof.operating_points import ONE_IN, enough_negatives
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity


class EarlyStopper:
    """Tracks the best epoch by the recipe's monitor, and its weights if they are exported.

    Attributes:
        epoch: the best epoch; None before the first validation.
        value: the monitor in that epoch.
        weights: the trained weights of that epoch on the CPU, if the recipe exports the best ones.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._sign = recipe.monitor_sign
        self._keep = recipe.export == "best"
        self._patience = recipe.early_stopping.patience if recipe.early_stopping else math.inf
        self._waited = 0
        self.epoch: int | None = None
        self.value: float | None = None
        self.weights: dict[str, Any] | None = None

    def update(self, epoch: int, value: float, weights: dict[str, Tensor]) -> None:
        """Record a validated epoch; a value that is not finite is never the best.

        Args:
            epoch: the epoch.
            value: the monitor in it.
            weights: the trained weights, of which a copy is kept if they are exported.
        """
        if not improves(value, self.value, self._sign):
            self._waited += 1
            return
        self.epoch, self.value, self._waited = epoch, value, 0
        if self._keep:
            self.weights = {
                name: own.detach().to("cpu", copy=True) for name, own in weights.items()
            }

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {name: getattr(self, name) for name in ("epoch", "value", "weights", "_waited")}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        for name, value in state.items():
            setattr(self, name, value)

    @property
    def should_stop(self) -> bool:
        """Whether early stopping should end the run."""
        return self._waited >= self._patience


def check_monitor(recipe: Recipe, manifest: dict[str, Any]) -> None:
    """Check that the recipe's monitor can be measured on the split val.

    Args:
        recipe: the recipe.
        manifest: the manifest of all splits.

    Raises:
        TailproofError: the monitor needs a binary task and there are more classes, val lacks one of
            the two classes, or it has too few negatives.
    """
    name = recipe.monitor
    if not MONITORS[name].two_classes:
        return
    target, positive = manifest["target"], manifest["positive"]
    if positive is None:
        raise TailproofError(
            f"recipe.monitor is {name}, which needs 2 classes, but '{target}' has "
            f"{len(manifest['classes'][target])}: choose a monitor such as val_accuracy"
        )
    counts = manifest["splits"]["val"]["class_counts"][target]
    negatives = sum(counts.values()) - counts[positive]
    if not counts[positive] or not negatives:
        raise TailproofError(
            f"recipe.monitor is {name}, but val has {quantity(counts[positive], 'sample')} of "
            f"'{positive}' and {quantity(negatives, 'other')}, expected at least 1 of each: raise "
            "data.splits.val, or choose another monitor"
        )
    if not enough_negatives(name, negatives):
        raise TailproofError(
            f"recipe.monitor is {name}, which needs at least {ONE_IN[name]:,} negatives in val, "
            f"found {negatives:,}: raise data.splits.val, or choose a larger rate or tpr_at_fpr_0"
        )
