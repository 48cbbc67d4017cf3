"""What a run does when: its phases, the updates before each, the learning rate of every update."""

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any

from tailproof.config.recipe import Phase, Recipe
from tailproof.monitors import direction


class Phases:
    """The one schedule of sizes, augmentation, mixing, batches and rate factors.

    Phases are counted from 0. A run without phases has one.

    Args:
        recipe: with its phases.
        steps: updates an epoch of each phase.

    Attributes:
        starts: the first epoch of each phase.
        before: the updates before each phase.
    """

    def __init__(self, recipe: Recipe, steps: list[int]) -> None:
        self._epochs, self._warmup = recipe.epochs, recipe.schedule.warmup
        self._timeline: list[Phase] = recipe.timeline
        self._steps = steps
        self.starts = [phase.from_epoch for phase in self._timeline]
        self.before = [0]
        for (start, end), each in zip(pairwise(self.starts), steps, strict=False):
            self.before.append(self.before[-1] + (end - start) * each)

    @classmethod
    def of_samples(cls, recipe: Recipe, samples: int) -> "Phases":
        """Return the phases of a run whose epochs have so many samples."""
        round_up = math.floor if recipe.drop_last else math.ceil
        return cls(recipe, [round_up(samples / phase.batch_size) for phase in recipe.timeline])

    @property
    def total(self) -> int:
        """Updates of the whole run."""
        return round(self.updates(self._epochs))

    @property
    def warmup_steps(self) -> int:
        """Updates of the warm-up; 0 without one."""
        if self._warmup is None:
            return 0
        return self._warmup.steps or max(1, round(self.updates(self._warmup.epochs)))

    @property
    def warmup_epochs(self) -> float:
        """The warm-up in epochs of the first phase."""
        return self.warmup_steps / max(self._steps[0], 1)

    def __getitem__(self, number: int) -> Phase:
        return self._timeline[number]

    def number(self, epoch: float) -> int:
        """Return the phase of an epoch; what comes after the last epoch is of the last phase."""
        return bisect_right(self.starts, epoch) - 1

    def steps(self, epoch: int) -> int:
        """Return the updates of an epoch."""
        return self._steps[self.number(epoch)]

    def updates(self, epochs: float) -> float:
        """Return the updates of so many epochs from the start, of parts of an epoch too."""
        number = self.number(epochs + 1)
        begun = epochs - (self.starts[number] - 1)
        return self.before[number] + begun * self._steps[number]

    def factor(self, updates: int) -> float:
        """Return what multiplies the rate of the update that comes after so many."""
        return self._timeline[bisect_right(self.before, updates) - 1].learning_rate_factor

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return for each phase its epochs, updates an epoch and settings, as plain values."""
        ends = [*(start - 1 for start in self.starts[1:]), self._epochs]
        return [
            {"to_epoch": end, "steps": steps, **phase.model_dump(mode="json")}
            for phase, end, steps in zip(self._timeline, ends, self._steps, strict=True)
        ]


def learning_rate(
    recipe: Recipe, phases: Phases, updates: int, lowered: float | None = None
) -> float:
    """Return the learning rate of the update that comes after so many.

    The warm-up is linear: update k of w has k/w of the rate. It covers the beginning of the
    schedule and does not delay it. Milestone m takes effect with the first update of epoch m + 1.
    The order of the operations is part of the result: another one gives other last bits.

    Args:
        recipe: with its optimizer and schedule.
        phases: of the recipe; each multiplies the rate by its factor.
        updates: made before it.
        lowered: the rate that a plateau has come down to; by default the recipe's.
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
    """The rate of a plateau schedule; that of any other stays as the recipe says.

    Args:
        recipe: with its schedule and monitor.

    Attributes:
        rate: what `learning_rate` takes as lowered.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._schedule = recipe.schedule if recipe.schedule.name == "plateau" else None
        self._sign = direction(recipe.monitor)
        self._best, self._waited = -math.inf, 0
        self.rate = recipe.optimizer.learning_rate

    def update(self, value: float) -> None:
        """Take note of a validation: lower the rate after `patience` without a better value."""
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
        """Return what a resumed run needs to know."""
        return {name: getattr(self, name) for name in ("rate", "_best", "_waited")}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        for name, value in state.items():
            setattr(self, name, value)


def final_rate(recipe: Recipe, phases: Phases) -> float:
    """Return the rate of the last update, a plateau's never lowered."""
    return learning_rate(recipe, phases, max(phases.total - 1, 0))


def rate_changes(recipe: Recipe, phases: Phases) -> list[dict[str, float]]:
    """Return the rate at the start, after the warm-up, at milestones and phases, and at the end.

    Each is that of the first update of its ``epoch``; the last is that of the run's last update.
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
    """Return the highest rate of the run, and the batch size that goes with it."""
    last = max(phases.total - 1, 0)  # the run may end within the warm-up
    peaks = []
    for number, phase in enumerate(recipe.timeline):
        warm = phases.warmup_steps - 1 if number == 0 else 0
        first = min(max(phases.before[number], warm), last)
        peaks.append((learning_rate(recipe, phases, first), phase.batch_size))
    return max(peaks)
