"""Tracks the best epoch and decides when to stop early."""

import math
from typing import Any

from torch import Tensor

from tailproof.config.recipe import Recipe
from tailproof.history import improves


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
