"""The phases of a run: which epoch trains on what, and how many updates come before it."""

from bisect import bisect_right
from itertools import pairwise
from typing import Any

from tailproof.config.recipe import Phase, Recipe


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
