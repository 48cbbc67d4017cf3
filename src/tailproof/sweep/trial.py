"""How far one sweep point was trained with one seed, and its best epoch."""

import math
from pathlib import Path
from typing import NamedTuple

from tailproof.history import History, Row
from tailproof.monitors import direction


class Trial(NamedTuple):
    """One point with one seed. None: no epoch has a finite value.

    Attributes:
        epochs: number of trained epochs.
        value: the best monitored value; the first one if several are equal.
        best_epoch: its epoch.
        val_loss: the validation loss in that epoch.
        gap: the difference between train and val in that epoch, where the monitored metric is also
            measured on train; positive where train is better.
        lowest_val_loss: the lowest validation loss of all epochs.
        lowest_val_loss_epoch: its epoch.
    """

    epochs: int
    value: float | None = None
    best_epoch: int | None = None
    val_loss: float | None = None
    gap: float | None = None
    lowest_val_loss: float | None = None
    lowest_val_loss_epoch: int | None = None


def read_trial(path: str | Path, monitor: str) -> Trial:
    """Summarise the history of a run.

    Args:
        path: history.csv, or rung.csv of a run that is not trained in full yet.
        monitor: the column that chooses the best epoch.

    Raises:
        TailproofError: the file is missing, damaged, or lacks a column.
    """
    history = History.read(path)
    best, lowest = history.best(monitor), history.best("val_loss")
    if best is None:
        return Trial(len(history.rows))
    return Trial(
        epochs=len(history.rows),
        value=best[monitor],
        best_epoch=int(best["epoch"]),
        val_loss=_finite(best.get("val_loss", math.nan)),
        gap=_gap(best, monitor),
        lowest_val_loss=lowest["val_loss"] if lowest else None,
        lowest_val_loss_epoch=int(lowest["epoch"]) if lowest else None,
    )


def _gap(row: Row, monitor: str) -> float | None:
    on_train = row.get(f"train_{monitor.removeprefix('val_')}", math.nan)
    return _finite(direction(monitor) * (on_train - row[monitor]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
