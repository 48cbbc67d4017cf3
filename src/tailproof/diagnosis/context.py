"""What is known about a run in addition to its history; everything may be unknown."""

from dataclasses import dataclass, field

from tailproof.config.recipe import Recipe
from tailproof.config.targets import Target


@dataclass(frozen=True)
class Context:
    """Facts about the configuration and the data.

    Attributes:
        recipe: the recipe of the run.
        classes: number of classes.
        train_samples: number of samples in the split train.
        val_samples: number of samples in the split val.
        delivered: number of samples that an epoch of training received, where the history lacks it.
        taken_over: first whole epoch after the state that this run took over from another
            configuration's run, counted from 1. Resumed attempts of the same run leave no trace in
            its history.
        targets: the targets of each metric.
        ended: whether the run has ended; None if it is to be inferred from recipe and history.
    """

    recipe: Recipe | None = None
    classes: int | None = None
    train_samples: int | None = None
    val_samples: int | None = None
    delivered: int | None = None
    taken_over: int | None = None
    targets: dict[str, list[Target]] = field(default_factory=dict)
    ended: bool | None = None

    @property
    def monitor(self) -> str | None:
        """The metric that chooses the best epoch."""
        return self.recipe.monitor if self.recipe else None

    def continues_after(self, done: int) -> bool:
        """Return whether the run is known to continue after this number of epochs."""
        if self.ended is not None:
            return not self.ended
        if self.recipe is None or self.recipe.early_stopping:
            return False
        return done < self.recipe.epochs
