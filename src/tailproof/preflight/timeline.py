"""Updates and learning rates of a recipe over its epochs, by its configuration alone."""

import math

from tailproof.config.recipe import Recipe
from tailproof.schedules import Phases


class Timeline:
    """What `tailproof.training.schedule` will do, told beforehand; a test holds the two together.

    Args:
        recipe: with schedule and phases.
        samples: of an epoch.

    Attributes:
        steps: updates an epoch of each phase.
        phases: how many updates come before what.
    """

    def __init__(self, recipe: Recipe, samples: int) -> None:
        self._recipe = recipe
        sizes = [phase.batch_size for phase in recipe.timeline]
        self.steps = [_steps(samples, size, recipe.drop_last) for size in sizes]
        self.phases = Phases(recipe, self.steps)

    @property
    def warmup_epochs(self) -> float:
        """The warm-up in epochs of the first phase."""
        return self.phases.warmup_steps / max(self.steps[0], 1)

    def rate(self, updates: int) -> float:
        """Return the rate of the update that comes after so many, a plateau's never lowered."""
        recipe, warmup = self._recipe, self.phases.warmup_steps
        schedule, rate = recipe.schedule, recipe.optimizer.learning_rate
        factor = self.phases.factor(updates)
        if updates < warmup - 1:
            return factor * rate * (updates + 1) / warmup
        if schedule.name == "cosine":
            done = min(updates / max(self.phases.total, 1), 1.0)
            low = schedule.min_lr
            return factor * (low + 0.5 * (rate - low) * (1 + math.cos(math.pi * done)))
        if schedule.name == "multistep":
            passed = sum(
                self.phases.updates(milestone) <= updates for milestone in schedule.milestones
            )
            return factor * rate * schedule.gamma**passed
        return factor * rate

    def rates(self) -> list[dict[str, float]]:
        """Return the rate where it starts, after the warm-up, at milestones and phases, and last.

        Each is that of the first update of its ``epoch``; the last is of the run's last update.
        """
        milestones = getattr(self._recipe.schedule, "milestones", [])
        warm = math.ceil(self.warmup_epochs) + 1 if self.phases.warmup_steps else 1
        epochs = {1, warm, *self.phases.starts, *(each + 1 for each in milestones)}
        found = [
            {"epoch": epoch, "learning_rate": self.rate(round(self.phases.updates(epoch - 1)))}
            for epoch in sorted(epochs)
            if epoch <= self._recipe.epochs
        ]
        return [*found, {"epoch": self._recipe.epochs, "learning_rate": self.last_rate}]

    @property
    def last_rate(self) -> float:
        """The rate of the last update."""
        return self.rate(max(self.phases.total - 1, 0))

    def peak(self) -> tuple[float, int]:
        """Return the highest rate of the run, and the batch size that it is taken with."""
        found = []
        for number, phase in enumerate(self._recipe.timeline):
            warm = self.phases.warmup_steps - 1 if number == 0 else 0
            first = max(self.phases.before[number], warm)
            first = min(first, max(self.phases.total - 1, 0))  # the run may end within the warm-up
            found.append((self.rate(first), phase.batch_size))
        return max(found)


def _steps(samples: int, batch: int, drop_last: bool) -> int:
    whole, rest = divmod(samples, batch)
    return whole + (1 if rest and not drop_last else 0)
