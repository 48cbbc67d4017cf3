"""The learning rate over a run, by timm's schedulers, stepped at every update."""

from typing import Any

from timm.scheduler import CosineLRScheduler, MultiStepLRScheduler
from torch.optim import Optimizer

from tailproof.config.recipe import Recipe
from tailproof.schedules import Phases


class Schedule:
    """One learning-rate schedule; epochs in the recipe become updates.

    The warm-up is linear: update k of w has k/w of the rate. Milestone m takes effect with the
    first update of epoch m + 1. The warm-up covers the beginning of the schedule and does not
    delay it.

    Args:
        optimizer: whose groups are driven.
        recipe: schedule, epochs, optimizer.
        phases: of the recipe; each multiplies the rate by its factor.
    """

    def __init__(self, optimizer: Optimizer, recipe: Recipe, phases: Phases) -> None:
        self._optimizer, self._phases = optimizer, phases
        self._plateau = recipe.schedule if recipe.schedule.name == "plateau" else None
        self._sign = recipe.monitor_sign
        self._best, self._waited = float("-inf"), 0
        self._scheduler = _build(optimizer, recipe, phases)
        self.after_update(0)

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return self._optimizer.param_groups[0]["lr"]

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to know besides the number of updates."""
        return {
            "best": self._best,
            "waited": self._waited,
            "rates": list(self._scheduler.base_values),
        }

    def restore(self, state: dict[str, Any] | None, updates: int) -> None:
        """Go on from what `state` returned after so many updates, or as if it had always run."""
        if state is not None:
            self._best, self._waited = state["best"], state["waited"]
            self._scheduler.base_values = list(state["rates"])
        self.after_update(updates)

    def after_update(self, updates: int) -> None:
        """Tell that so many updates have been made since the start."""
        self._scheduler.step_update(updates)
        factor = self._phases.factor(updates)
        if factor != 1:
            for group in self._optimizer.param_groups:
                group["lr"] *= factor

    def after_validation(self, monitor: float, updates: int) -> None:
        """Tell the monitored value; a plateau lowers the rate after `patience` without a better."""
        if self._plateau is None:
            return
        if self._sign * monitor > self._best:
            self._best, self._waited = self._sign * monitor, 0
            return
        self._waited += 1
        if self._waited >= self._plateau.patience:
            self._waited = 0
            rates = [rate * self._plateau.factor for rate in self._scheduler.base_values]
            self._scheduler.base_values = rates
            self.after_update(updates)


def _build(optimizer: Optimizer, recipe: Recipe, phases: Phases) -> Any:
    schedule, warmup = recipe.schedule, phases.warmup_steps
    common = {
        # timm counts from update 0: start at 1/w of the rate and reach it at update w.
        "warmup_t": max(warmup - 1, 0),
        "warmup_lr_init": recipe.optimizer.learning_rate / max(warmup, 1),
        "warmup_prefix": False,
        "t_in_epochs": False,
    }
    if schedule.name == "cosine":
        return CosineLRScheduler(
            optimizer, t_initial=phases.updates(recipe.epochs), lr_min=schedule.min_lr, **common
        )
    milestones = schedule.milestones if schedule.name == "multistep" else []
    return MultiStepLRScheduler(
        optimizer,
        # timm lets milestone m act at update m - 1
        decay_t=[phases.updates(milestone) + 1 for milestone in milestones],
        decay_rate=schedule.gamma if milestones else 1.0,
        **common,
    )
