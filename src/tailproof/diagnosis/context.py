"""What is known of a run beside its history; everything may be unknown."""

from dataclasses import dataclass, field

from tailproof.config.recipe import Recipe
from tailproof.config.targets import Target


@dataclass(frozen=True)
class Context:
    """Facts of the configuration and the data.

    Attributes:
        recipe: how the run was trained.
        classes: how many there are.
        train_samples: of the training split.
        delivered: how many samples an epoch of training had; where it is not in the history.
        taken_over: first whole epoch after the state of another configuration's run from which this
            one went on, counted from 1. Attempts of one run leave no trace in its history.
        targets: by metric.
        ended: whether the run has; None where only recipe and history tell.
    """

    recipe: Recipe | None = None
    classes: int | None = None
    train_samples: int | None = None
    delivered: int | None = None
    taken_over: int | None = None
    targets: dict[str, list[Target]] = field(default_factory=dict)
    ended: bool | None = None

    @property
    def monitor(self) -> str | None:
        """The metric by which the recipe chooses its best epoch."""
        return self.recipe.monitor if self.recipe else None

    def goes_on(self, done: int) -> bool:
        """Tell whether a run of so many epochs is known not to have ended."""
        if self.ended is not None:
            return not self.ended
        if self.recipe is None or self.recipe.early_stopping:
            return False
        return done < self.recipe.epochs
