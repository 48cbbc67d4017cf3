"""What the history of a training run says about its recipe."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from tailproof.monitors import direction
from tailproof.runtime.errors import TailproofError


class Trial(NamedTuple):
    """One point with one seed, as far as it was trained. None: no epoch has a finite value.

    Attributes:
        epochs: trained.
        value: best monitored value, in its best epoch, the first of equals.
        best_epoch: that epoch.
        val_loss: in that epoch.
        gap: of the monitored metric between train and val in that epoch, where it is measured on
            train too; positive where train is better.
        lowest_val_loss: of any epoch.
        lowest_val_loss_epoch: its epoch.
    """

    epochs: int
    value: float | None = None
    best_epoch: int | None = None
    val_loss: float | None = None
    gap: float | None = None
    lowest_val_loss: float | None = None
    lowest_val_loss_epoch: int | None = None


def read_trial(history: str | Path, monitor: str) -> Trial:
    """Read a trial off a run's history.

    Args:
        history: history.csv, or rung.csv of a run that was trained for now.
        monitor: the column that chooses the best epoch.

    Raises:
        TailproofError: the file is missing or no history.
    """
    try:
        with open(history, encoding="utf-8", newline="") as file:
            rows = [_numbers(row) for row in csv.DictReader(file)]
        sign = direction(monitor)
        best = _first(rows, monitor, sign)
        lowest = _first(rows, "val_loss", -1.0)
        if best is None:
            return Trial(len(rows))
        value, loss = best[monitor], best["val_loss"]
        on_train = f"train_{monitor.removeprefix('val_')}"
        trained = best.get(on_train, math.nan)
        lowest_loss, lowest_epoch = (
            (lowest["val_loss"], lowest["epoch"]) if lowest else (None, None)
        )
        return Trial(
            epochs=len(rows),
            value=value,
            best_epoch=int(best["epoch"]),
            val_loss=_finite(loss),
            gap=_finite(sign * (trained - value)),
            lowest_val_loss=lowest_loss,
            lowest_val_loss_epoch=lowest_epoch and int(lowest_epoch),
        )
    except FileNotFoundError:
        raise TailproofError(f"{history} does not exist") from None
    except (KeyError, TypeError, ValueError) as error:
        raise TailproofError(
            f"{history} is no history of a training run ({error}): delete it and run again"
        ) from None


def _numbers(row: dict[str, str]) -> dict[str, float]:
    return {name: float(text or "nan") for name, text in row.items()}


def _first(rows: list[dict[str, float]], column: str, sign: float) -> dict[str, float] | None:
    """Return the row with the highest finite value times `sign`, the first of equals."""
    known = [row for row in rows if math.isfinite(row[column])]
    return max(known, key=lambda row: sign * row[column], default=None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
