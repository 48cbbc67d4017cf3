"""What a run is monitored by: a column of history.csv, which way is better, how it is measured.

One table, which `register_monitor` adds to. Training measures every monitor after each pass over
val and writes it to history.csv; the configuration takes the names, and selection, diagnosis and
report the directions from here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailproof.operating_points import POINTS, epoch_points


@dataclass(frozen=True)
class Validation:
    """What one pass over val gave, at the rank that is learnt and evaluated.

    Attributes:
        metrics: the columns that all runs have, such as val_loss, by name.
        confusion: samples by true and predicted class, int64 [C, C].
        scores: of the positive class of two, float64 [N]; None where there are more classes.
        positive: which samples are of that class, boolean [N]; None where there are more classes.
    """

    metrics: dict[str, float]
    confusion: np.ndarray
    scores: np.ndarray | None = None
    positive: np.ndarray | None = None

    @cached_property
    def points(self) -> dict[str, float]:
        """AUROC and the operating points that val can show."""
        return {} if self.scores is None else epoch_points(self.scores, self.positive)


@dataclass(frozen=True)
class Monitor:
    """A monitor.

    Attributes:
        name: of its column in history.csv.
        higher_is_better: whether more of it is better.
        measure: computes it after a pass over val; None where val cannot show it.
        two_classes: it is defined for a positive class of two alone.
    """

    name: str
    higher_is_better: bool
    measure: Callable[[Validation], float | None]
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
"""By which the best epoch is chosen where no recipe says it: the first that was measured."""


def register_monitor(
    name: str, *, higher_is_better: bool, two_classes: bool = False
) -> Callable[[Callable[[Validation], float | None]], Callable[[Validation], float | None]]:
    """Return a decorator that makes a function of a `Validation` a monitor.

    Args:
        name: of its column in history.csv; it starts with val_.
        higher_is_better: whether more of it is better.
        two_classes: it is defined for a positive class of two alone.

    Raises:
        ValueError: the name belongs to another monitor.
    """
    if name in MONITORS:
        raise ValueError(f"there is a monitor {name} already: choose another name")

    def register(measure: Callable[[Validation], float | None]):
        MONITORS[name] = Monitor(name, higher_is_better, measure, two_classes)
        return measure

    return register


def measure_monitors(validation: Validation) -> dict[str, float]:
    """Return every monitor that the validation can show, by name, in the order of the table."""
    values = {
        name: monitor.measure(validation)
        for name, monitor in MONITORS.items()
        if not monitor.two_classes or validation.scores is not None
    }
    return {name: value for name, value in values.items() if value is not None}


def direction(metric: str) -> float:
    """Return 1 where more of a metric is better, -1 where less is.

    The table decides; of other columns, such as those of foreign histories, the name does.
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
