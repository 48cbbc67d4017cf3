"""A run's history as detectors see it, whoever wrote it."""

from dataclasses import dataclass, field

import numpy as np

from tailproof.diagnosis.column_aliases import is_metric
from tailproof.diagnosis.curves import Curve
from tailproof.monitors import PREFERRED


@dataclass(frozen=True)
class History:
    """What was measured, one row an epoch: those epochs that led to the last one.

    Attributes:
        name: of the run, for messages.
        epochs: N rising integers, counted as the file counts, from 0 or 1.
        columns: N numbers each; NaN is missing, an infinite loss was no finite number.
        passed: every epoch in the order in which it was trained, those trained again too.
    """

    name: str
    epochs: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    passed: tuple[int, ...] = ()

    @classmethod
    def of(cls, name: str, rows: list[dict[str, float]]) -> "History":
        """Build a history of rows in the order in which they were written.

        Where an epoch comes again, what came from it on before leads nowhere and is left out.

        Args:
            name: of the run.
            rows: canonical names to numbers, ``epoch`` among them; what is absent is missing.
        """
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
        """What the first epoch is called: 0 or 1."""
        return 0 if 0 in self.passed else 1

    @property
    def last(self) -> int:
        """The last epoch, as the history counts."""
        return int(self.epochs[-1])

    @property
    def done(self) -> int:
        """How many epochs the last one makes."""
        return self.last - self.origin + 1

    def curve(self, name: str) -> Curve:
        """Return the finite values of a column; an empty curve where there are none."""
        values = self.columns.get(name, np.full(len(self.epochs), np.nan))
        keep = np.isfinite(values)
        return Curve(name, self.epochs[keep], values[keep])

    def monitor(self, named: str | None = None) -> Curve:
        """Return the curve by which the best epoch is chosen; empty where nothing is known."""
        for name in (named, *PREFERRED):
            if name and len(curve := self.curve(name)):
                return curve
        return self.curve(PREFERRED[-1])

    def pairs(self) -> list[tuple[Curve, Curve]]:
        """Return train and val of metrics where more is better, on the epochs that have both."""
        found = []
        for metric in ("balanced_accuracy", "macro_f1", "accuracy"):
            train, val = (self.columns.get(f"{part}_{metric}") for part in ("train", "val"))
            if train is None or val is None:
                continue
            keep = np.isfinite(train) & np.isfinite(val)
            if keep.any():
                epochs = self.epochs[keep]
                found.append(
                    (
                        Curve(f"train_{metric}", epochs, train[keep]),
                        Curve(f"val_{metric}", epochs, val[keep]),
                    )
                )
        return found

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics that were measured."""
        return [name for name in self.columns if is_metric(name)]
