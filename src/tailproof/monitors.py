"""The registry of monitors: columns of history.csv, their direction and how to compute them.

`register_monitor` adds an entry. Training computes every monitor after each pass over val and
writes it to history.csv. The configuration takes the names from here; selection, diagnosis and
report take the directions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tailproof.operating_points import POINTS

if TYPE_CHECKING:  # the configuration reads the names of the monitors and needs no numpy
    import numpy as np


@dataclass(frozen=True)
class ClassCounts:
    """Numbers of samples by class, at one rank; int64 [C] each.

    Attributes:
        right: of the class and predicted as such.
        actual: of the class.
        predicted: predicted as the class.
    """

    right: "np.ndarray"
    actual: "np.ndarray"
    predicted: "np.ndarray"


@dataclass(frozen=True)
class Validation:
    """The results of one pass over val, at the target rank.

    Attributes:
        metrics: the columns that all runs have, such as val_loss, by name.
        counts: numbers of samples by class.
        scores: score of the positive class, float64 [N]; None unless the task is binary.
        positive: whether each sample is positive, boolean [N]; None unless the task is binary.
    """

    metrics: dict[str, float]
    counts: ClassCounts
    scores: "np.ndarray | None" = None
    positive: "np.ndarray | None" = None

    @cached_property
    def points(self) -> dict[str, float]:
        """AUROC and the operating points that val has enough samples for."""
        from tailproof.score_curve import epoch_points

        if self.scores is None or self.positive is None:
            return {}
        return epoch_points(self.scores, self.positive)


Measure = Callable[[Validation], float | None]


@dataclass(frozen=True)
class Monitor:
    """A metric that can select the best epoch.

    Attributes:
        name: name of its column in history.csv.
        higher_is_better: whether higher values are better.
        measure: computes it from a pass over val; None if val has too few samples.
        two_classes: whether it is defined only for binary tasks.
    """

    name: str
    higher_is_better: bool
    measure: Measure
    two_classes: bool = False


MONITORS: dict[str, Monitor] = {}

PREFERRED = (
    "tpr_at_fpr_1e-4",
    "tpr_at_fpr_1e-3",
    "tpr_at_fpr_1e-2",
    "val_balanced_accuracy",
    "val_macro_f1",
    "val_accuracy",
    "val_auroc",
    "val_loss",
)
"""Order of preference if no recipe names a monitor: the first one in the history is used."""


def register_monitor(
    name: str, *, higher_is_better: bool, two_classes: bool = False
) -> Callable[[Measure], Measure]:
    """Return a decorator that registers a function of a `Validation` as a monitor.

    Args:
        name: name of its column in history.csv; it starts with val_.
        higher_is_better: whether higher values are better.
        two_classes: whether it is defined only for binary tasks.

    Raises:
        ValueError: the name is already taken by another monitor.
    """
    if name in MONITORS:
        raise ValueError(f"the monitor name '{name}' is already taken: choose another name")

    def register(measure: Measure) -> Measure:
        MONITORS[name] = Monitor(name, higher_is_better, measure, two_classes)
        return measure

    return register


def measure_monitors(validation: Validation) -> dict[str, float]:
    """Return the value of every defined monitor by name, in the order of registration."""
    values = {
        name: monitor.measure(validation)
        for name, monitor in MONITORS.items()
        if not monitor.two_classes or validation.scores is not None
    }
    return {name: value for name, value in values.items() if value is not None}


def direction(metric: str) -> float:
    """Return 1 if higher values of a metric are better, -1 if lower ones are.

    For columns that are not monitors, such as those of foreign histories, the name decides.
    """
    if metric in MONITORS:
        return 1.0 if MONITORS[metric].higher_is_better else -1.0
    falls = "loss" in metric or "error" in metric or metric.startswith("fpr_at")
    return -1.0 if falls else 1.0


def _register_column(name: str, *, higher_is_better: bool) -> None:
    @register_monitor(name, higher_is_better=higher_is_better)
    def measure(validation: Validation) -> float:
        return validation.metrics[name]


def _register_point(name: str, *, higher_is_better: bool) -> None:
    @register_monitor(name, higher_is_better=higher_is_better, two_classes=True)
    def measure(validation: Validation) -> float | None:
        return validation.points.get(name)


_register_column("val_loss", higher_is_better=False)
_register_column("val_accuracy", higher_is_better=True)
_register_column("val_balanced_accuracy", higher_is_better=True)
_register_column("val_macro_f1", higher_is_better=True)
_register_point("val_auroc", higher_is_better=True)
for _point in POINTS:
    _register_point(_point, higher_is_better=_point.startswith("tpr"))
