"""The phases of a run, the number of updates in each, and the learning rate of every update."""

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any

from tailproof.config.recipe import Recipe, WholePhase
from tailproof.monitors import direction


class Phases:
    """The phases of a run, which set image size, sampler, batch size, rate factor and others.

    Phases are numbered from 0. A recipe without phases has a single one.

    Args:
        recipe: the recipe.
        steps: updates per epoch in each phase.

    Attributes:
        starts: the first epoch of each phase.
        before: the number of updates before each phase.
    """

    def __init__(self, recipe: Recipe, steps: list[int]) -> None:
        self._epochs, self._warmup = recipe.epochs, recipe.schedule.warmup
        self._timeline = recipe.timeline
        self._steps = steps
        self.starts = [phase.from_epoch for phase in self._timeline]
        self.before = [0]
        for (start, end), per_epoch in zip(pairwise(self.starts), steps, strict=False):
            self.before.append(self.before[-1] + (end - start) * per_epoch)

    @classmethod
    def of_samples(cls, recipe: Recipe, samples: int) -> "Phases":
        """Return the phases of a run with `samples` training samples per epoch."""
        rounded = math.floor if recipe.drop_last else math.ceil
        return cls(recipe, [rounded(samples / phase.batch_size) for phase in recipe.timeline])

    @property
    def total(self) -> int:
        """The number of updates in the whole run."""
        return round(self.updates(self._epochs))

    @property
    def warmup_steps(self) -> int:
        """The number of updates in the warm-up; 0 without one."""
        if self._warmup is None:
            return 0
        if self._warmup.epochs is not None:
            return max(1, round(self.updates(self._warmup.epochs)))
        return self._warmup.steps or 0

    @property
    def warmup_epochs(self) -> float:
        """The length of the warm-up in epochs of the first phase."""
        return self.warmup_steps / max(self._steps[0], 1)

    def __getitem__(self, number: int) -> WholePhase:
        return self._timeline[number]

    def number(self, epoch: float) -> int:
        """Return the phase number of an epoch; epochs after the last belong to the last phase."""
        return bisect_right(self.starts, epoch) - 1

    def steps(self, epoch: int) -> int:
        """Return the number of updates in an epoch."""
        return self._steps[self.number(epoch)]

    def updates(self, epochs: float) -> float:
        """Return the number of updates in the first `epochs` epochs, which may be a fraction."""
        number = self.number(epochs + 1)
        begun = epochs - (self.starts[number] - 1)
        return self.before[number] + begun * self._steps[number]

    def factor(self, updates: int) -> float:
        """Return the learning-rate factor of the update that follows `updates` updates."""
        return self._timeline[bisect_right(self.before, updates) - 1].learning_rate_factor

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return each phase's epochs, updates per epoch and settings, as plain values."""
        ends = [*(start - 1 for start in self.starts[1:]), self._epochs]
        return [
            {"to_epoch": end, "steps": steps, **phase.model_dump(mode="json")}
            for phase, end, steps in zip(self._timeline, ends, self._steps, strict=True)
        ]


def learning_rate(
    recipe: Recipe, phases: Phases, updates: int, lowered: float | None = None
) -> float:
    """Return the learning rate of the update that follows `updates` updates.

    The warm-up is linear: update k of w has k/w of the rate. It replaces the beginning of the
    schedule and does not delay it. Milestone m takes effect at the first update of epoch m + 1.
    The order of operations matters: another order changes the last bits.

    Args:
        recipe: the recipe.
        phases: the phases of the recipe; each multiplies the rate by its factor.
        updates: the number of updates so far.
        lowered: the rate that a plateau schedule has reached. Default: the recipe's rate.
    """
    schedule, highest = recipe.schedule, recipe.optimizer.learning_rate
    warmup, total = phases.warmup_steps, max(phases.total, 1)
    rate = highest if lowered is None else lowered
    if updates < warmup - 1:
        first = highest / warmup
        rate = first + updates * ((highest - first) / (warmup - 1))
    elif schedule.name == "cosine" and updates >= total:
        rate = schedule.min_lr
    elif schedule.name == "cosine":
        half = 1 + math.cos(math.pi * updates / total)
        rate = schedule.min_lr + 0.5 * (rate - schedule.min_lr) * half
    elif schedule.name == "multistep":
        passed = sum(phases.updates(milestone) <= updates for milestone in schedule.milestones)
        rate *= schedule.gamma**passed
    return rate * phases.factor(updates)


class Plateau:
    """Tracks the learning rate of a plateau schedule; constant for any other schedule.

    Args:
        recipe: the recipe.

    Attributes:
        rate: the current rate, the argument `lowered` of `learning_rate`.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._schedule = recipe.schedule if recipe.schedule.name == "plateau" else None
        self._sign = direction(recipe.monitor)
        self._best, self._waited = -math.inf, 0
        self.rate = recipe.optimizer.learning_rate

    def update(self, value: float) -> None:
        """Record a validation; lower the rate after `patience` of them without a better value."""
        if self._schedule is None:
            return
        if self._sign * value > self._best:
            self._best, self._waited = self._sign * value, 0
            return
        self._waited += 1
        if self._waited >= self._schedule.patience:
            self._waited = 0
            self.rate *= self._schedule.factor

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {name: getattr(self, name) for name in ("rate", "_best", "_waited")}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        for name, value in state.items():
            setattr(self, name, value)


def final_rate(recipe: Recipe, phases: Phases) -> float:
    """Return the rate of the last update; that of a plateau schedule as if never lowered."""
    return learning_rate(recipe, phases, max(phases.total - 1, 0))


def rate_changes(recipe: Recipe, phases: Phases) -> list[dict[str, float]]:
    """Return the rate at the start, after the warm-up, at milestones and phases, and at the end.

    Each is the rate of the first update of its ``epoch``; the last entry is the rate of the last
    update.
    """
    milestones = getattr(recipe.schedule, "milestones", [])
    warm = math.ceil(phases.warmup_epochs) + 1 if phases.warmup_steps else 1
    epochs = {1, warm, *phases.starts, *(milestone + 1 for milestone in milestones)}
    changes = [
        {
            "epoch": epoch,
            "learning_rate": learning_rate(recipe, phases, round(phases.updates(epoch - 1))),
        }
        for epoch in sorted(epochs)
        if epoch <= recipe.epochs
    ]
    return [*changes, {"epoch": recipe.epochs, "learning_rate": final_rate(recipe, phases)}]


def peak_rate(recipe: Recipe, phases: Phases) -> tuple[float, int]:
    """Return the highest learning rate of the run and the batch size at that rate."""
    last = max(phases.total - 1, 0)  # the run may end within the warm-up
    peaks = []
    for number, phase in enumerate(recipe.timeline):
        warm = phases.warmup_steps - 1 if number == 0 else 0
        first = min(max(phases.before[number], warm), last)
        peaks.append((learning_rate(recipe, phases, first), phase.batch_size))
    return max(peaks)
