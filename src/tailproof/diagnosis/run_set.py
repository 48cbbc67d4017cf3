"""What several runs are compared by: experts, seeds, or points of a sweep."""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.history import History
from tailproof.monitors import direction


@dataclass(frozen=True)
class DiagnosedRun:
    """One run in a few numbers; None is unknown.

    Attributes:
        name: of the expert or point.
        seed: what tells runs of one name apart.
        settings: what was varied, numbers by dotted key of the recipe.
        metric: by which runs are compared.
        best: its highest level.
        best_epoch: where that is.
        train: the same metric on train in the end.
        val_loss_epoch: where val loss is lowest.
        epochs: how many were trained.
        noise: of the metric between epochs.
        levels: of every val metric in the end.
        values: of the metric by epoch, to see whether two runs are one.
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
        cls, history: History, recipe: Recipe | None = None, name: str = "", seed: int = 0
    ) -> "DiagnosedRun":
        """Read the numbers off a history; the recipe says by which metric and what was set."""
        curve = history.monitor(recipe.monitor if recipe else None)
        loss = history.curve("val_loss")
        train = history.curve(curve.name.replace("val_", "train_"))
        known = len(curve) > 0
        return cls(
            name=name or history.name,
            seed=seed,
            settings=numbers(recipe.result_fields()) if recipe else {},
            metric=curve.name,
            best=curve.best_level if known else None,
            best_epoch=int(curve.epochs[curve.best]) if known else None,
            train=train.tail if len(train) and train.name != curve.name else None,
            val_loss_epoch=int(loss.epochs[loss.best]) if len(loss) else None,
            epochs=history.last,
            noise=curve.noise if known else None,
            levels={
                each: found.tail
                for each in history.metrics
                if each.startswith("val_") and len(found := history.curve(each))
            },
            values=tuple(map(float, curve.values)),
        )


@dataclass(frozen=True)
class RunSet:
    """Several runs, and what else is known of them together.

    Attributes:
        runs: with one metric.
        target: what the metric should reach.
        recipes: of each expert.
        agreement: share of samples on which two experts say the same.
        ece: expected calibration error by expert and split: value, and ends of its interval.
    """

    runs: list[DiagnosedRun] = field(default_factory=list)
    target: float | None = None
    recipes: dict[str, Recipe] = field(default_factory=dict)
    agreement: dict[tuple[str, str], float] = field(default_factory=dict)
    ece: dict[str, dict[str, tuple[float, float, float]]] = field(default_factory=dict)

    @property
    def compared(self) -> list[DiagnosedRun]:
        """The runs that were measured by the first one's metric."""
        known = [run for run in self.runs if run.best is not None]
        return [run for run in known if run.metric == known[0].metric]

    @property
    def sign(self) -> float:
        """1 where more of the metric is better, else -1."""
        return direction(self.compared[0].metric) if self.compared else 1.0

    def by_name(self) -> dict[str, list[DiagnosedRun]]:
        """Return the compared runs of each expert."""
        found: dict[str, list[DiagnosedRun]] = {}
        for run in self.compared:
            found.setdefault(run.name, []).append(run)
        return found

    def varied(self) -> dict[str, np.ndarray]:
        """Values by run of the settings that are not the same in all compared runs."""
        keys = dict.fromkeys(key for run in self.compared for key in run.settings)
        values = {
            key: np.array([run.settings.get(key, np.nan) for run in self.compared]) for key in keys
        }
        return {
            key: each
            for key, each in values.items()
            if np.isfinite(each).all() and len(set(each.tolist())) > 1
        }

    def pairs(self) -> list[tuple[str, str]]:
        """All pairs of names."""
        return list(combinations(self.by_name(), 2))


def numbers(value: dict, prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested mappings by dotted key."""
    found: dict[str, float] = {}
    for key, each in value.items():
        if isinstance(each, dict):
            found |= numbers(each, f"{prefix}{key}.")
        elif isinstance(each, int | float) and not isinstance(each, bool):
            found[f"{prefix}{key}"] = float(each)
    return found
