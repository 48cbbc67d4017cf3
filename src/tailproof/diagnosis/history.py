"""A run's history as detectors see it, whichever tool wrote it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tailproof.diagnosis.column_aliases import is_metric
from tailproof.diagnosis.curves import Curve
from tailproof.history import History, Row

MONITORS = (
    "tpr_at_fpr_1e-4",
    "tpr_at_fpr_1e-3",
    "tpr_at_fpr_1e-2",
    "val_balanced_accuracy",
    "val_macro_f1",
    "val_accuracy",
    "val_auroc",
    "val_loss",
)
"""The metrics that choose the best epoch where no recipe does: the first one that was measured."""


@dataclass(frozen=True)
class RunHistory:
    """The measured values of the epochs that led to the last one.

    Attributes:
        name: the name of the run.
        epochs: N rising integers, numbered from 0 or 1 as in the file.
        columns: N numbers each; NaN is a missing value, inf is a loss that was not finite.
        passed: every epoch in the order of training, including those that were trained again.
    """

    name: str
    epochs: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    passed: tuple[int, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> "RunHistory":
        """Read a history.csv of this project.

        Raises:
            TailproofError: the file is missing, or training did not write it.
        """
        history = History.read(path)
        return cls.of(history.path.stem, [mark_infinite_losses(row) for row in history.rows])

    @classmethod
    def of(cls, name: str, rows: Iterable[Row]) -> "RunHistory":
        """Build a history from rows in the order in which they were written.

        Where an epoch was trained again, the earlier rows from that epoch on are left out.

        Args:
            name: the name of the run.
            rows: numbers by canonical name, with ``epoch``; an absent value is missing.
        """
        rows = list(rows)
        passed = [int(row["epoch"]) for row in rows]
        if len(set(passed)) == len(passed):
            kept = sorted(rows, key=lambda row: row["epoch"])
        else:
            kept = []
            for row in rows:
                while kept and kept[-1]["epoch"] >= row["epoch"]:
                    kept.pop()
                kept.append(row)
        names = dict.fromkeys(key for row in kept for key in row if key != "epoch")
        columns = {
            key: np.array([row.get(key, np.nan) for row in kept], dtype=float) for key in names
        }
        epochs = np.array([int(row["epoch"]) for row in kept])
        return cls(name, epochs, columns, tuple(passed))

    @property
    def origin(self) -> int:
        """The number of the first epoch: 0 or 1."""
        return 0 if 0 in self.passed else 1

    @property
    def last(self) -> int:
        """The last epoch, numbered as in the history."""
        return int(self.epochs[-1])

    @property
    def done(self) -> int:
        """The number of epochs up to the last one."""
        return self.last - self.origin + 1

    def curve(self, name: str) -> Curve:
        """Return the finite values of a column; the curve is empty if there are none."""
        values = self.columns.get(name, np.full(len(self.epochs), np.nan))
        keep = np.isfinite(values)
        return Curve(name, self.epochs[keep], values[keep])

    def monitor(self, named: str | None = None) -> Curve:
        """Return the curve that chooses the best epoch; empty if none was measured."""
        for name in (named, *MONITORS):
            if name and len(curve := self.curve(name)):
                return curve
        return self.curve(MONITORS[-1])

    def pairs(self) -> list[tuple[Curve, Curve]]:
        """Return accuracy-like metrics on train and val, in the epochs that have both."""
        pairs = []
        for metric in ("balanced_accuracy", "macro_f1", "accuracy"):
            train, val = (self.columns.get(f"{part}_{metric}") for part in ("train", "val"))
            if train is None or val is None:
                continue
            keep = np.isfinite(train) & np.isfinite(val)
            if keep.any():
                epochs = self.epochs[keep]
                pairs.append(
                    (
                        Curve(f"train_{metric}", epochs, train[keep]),
                        Curve(f"val_{metric}", epochs, val[keep]),
                    )
                )
        return pairs

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics that were measured."""
        return [name for name in self.columns if is_metric(name)]


def mark_infinite_losses(row: Row) -> Row:
    """Return the row with inf in place of every loss that is not finite."""
    return {
        name: math.inf if "loss" in name and not math.isfinite(value) else value
        for name, value in row.items()
    }
