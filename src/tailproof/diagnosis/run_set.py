"""The runs that are compared with each other: experts, seeds, or points of a sweep."""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.history import RunHistory
from tailproof.monitors import direction


@dataclass(frozen=True)
class DiagnosedRun:
    """A run reduced to a few numbers; None means unknown.

    Attributes:
        name: the expert or the point.
        seed: the seed of the run.
        settings: the numbers of the recipe by dotted key.
        metric: the metric that the runs are compared by.
        best: its best level.
        best_epoch: the epoch of its best value.
        train: the same metric on train at the end.
        val_loss_epoch: the epoch with the lowest validation loss.
        epochs: number of trained epochs.
        noise: the standard deviation of the metric between epochs.
        levels: the level of every metric on val at the end.
        values: the metric in each epoch, to recognize identical runs.
    """

    name: str
    seed: int = 0
    settings: dict[str, float] = field(default_factory=dict)
    metric: str = "val_accuracy"
    best: float | None = None
    best_epoch: int | None = None
    train: float | None = None
    val_loss_epoch: int | None = None
    epochs: int | None = None
    noise: float | None = None
    levels: dict[str, float] = field(default_factory=dict)
    values: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, history: RunHistory, recipe: Recipe | None = None, name: str = "", seed: int = 0
    ) -> "DiagnosedRun":
        """Summarise a history; the recipe names the metric and holds the settings."""
        curve = history.monitor(recipe.monitor if recipe else None)
        loss = history.curve("val_loss")
        train = history.curve(curve.name.replace("val_", "train_"))
        measured = len(curve) > 0
        return cls(
            name=name or history.name,
            seed=seed,
            settings=numbers(recipe.result_fields()) if recipe else {},
            metric=curve.name,
            best=curve.best_level if measured else None,
            best_epoch=int(curve.epochs[curve.best]) if measured else None,
            train=train.tail if len(train) and train.name != curve.name else None,
            val_loss_epoch=int(loss.epochs[loss.best]) if len(loss) else None,
            epochs=history.last,
            noise=curve.noise if measured else None,
            levels={
                metric: values.tail
                for metric in history.metrics
                if metric.startswith("val_") and len(values := history.curve(metric))
            },
            values=tuple(map(float, curve.values)),
        )


@dataclass(frozen=True)
class RunSet:
    """Several runs, and what else is known about them.

    Attributes:
        runs: the runs.
        target: the value that the metric should reach.
        recipes: the recipe of each expert.
        agreement: share of samples on which two experts predict the same class.
        ece: expected calibration error by expert and split: the value and its interval.
    """

    runs: list[DiagnosedRun] = field(default_factory=list)
    target: float | None = None
    recipes: dict[str, Recipe] = field(default_factory=dict)
    agreement: dict[tuple[str, str], float] = field(default_factory=dict)
    ece: dict[str, dict[str, tuple[float, float, float]]] = field(default_factory=dict)

    @property
    def compared(self) -> list[DiagnosedRun]:
        """The runs that have the metric of the first one."""
        measured = [run for run in self.runs if run.best is not None]
        return [run for run in measured if run.metric == measured[0].metric]

    @property
    def sign(self) -> float:
        """1 where higher values of the metric are better, else -1."""
        return direction(self.compared[0].metric) if self.compared else 1.0

    def by_name(self) -> dict[str, list[DiagnosedRun]]:
        """Return the compared runs of each expert."""
        runs: dict[str, list[DiagnosedRun]] = {}
        for run in self.compared:
            runs.setdefault(run.name, []).append(run)
        return runs

    def varied(self) -> dict[str, np.ndarray]:
        """Return the settings that differ between the compared runs: key -> value of each run."""
        keys = dict.fromkeys(key for run in self.compared for key in run.settings)
        values = {
            key: np.array([run.settings.get(key, np.nan) for run in self.compared]) for key in keys
        }
        return {
            key: settings
            for key, settings in values.items()
            if np.isfinite(settings).all() and len(set(settings.tolist())) > 1
        }

    def pairs(self) -> list[tuple[str, str]]:
        """Return all pairs of expert names."""
        return list(combinations(self.by_name(), 2))


def numbers(value: dict, prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested mappings by dotted key."""
    flat: dict[str, float] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= numbers(item, f"{prefix}{key}.")
        elif isinstance(item, int | float) and not isinstance(item, bool):
            flat[f"{prefix}{key}"] = float(item)
    return flat


def noise_of_runs(runs: list[DiagnosedRun]) -> float | None:
    """Return the median noise of the runs' metric between epochs; None where none is known."""
    noises = [run.noise for run in runs if run.noise is not None]
    return float(np.median(noises)) if noises else None
