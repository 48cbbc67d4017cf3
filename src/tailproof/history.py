"""history.csv: one row per epoch, written by training and read by later stages.

The same run writes exactly the same bytes. `tailproof.diagnosis.readers` reads the histories of
other tools, so that a new format makes no training run stale.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tailproof.files import write_text
from tailproof.monitors import direction
from tailproof.runtime.errors import TailproofError

COLUMNS = (
    "epoch",
    "train_loss",
    "val_loss",
    "train_accuracy",
    "val_accuracy",
    "learning_rate",
    "train_balanced_accuracy",
    "val_balanced_accuracy",
    "train_macro_f1",
    "val_macro_f1",
)

Row = dict[str, float]


@dataclass(frozen=True)
class History:
    """The content of a history.csv that training wrote.

    Attributes:
        path: the file, for messages.
        columns: the header.
        rows: the values of each epoch by column, in the order of the epochs. A metric that was not
            computed in an epoch is absent from its row.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: str | Path) -> "History":
        """Read history.csv, or rung.csv of a sweep run that is not trained in full.

        Raises:
            TailproofError: the file is missing or was not written by training.
        """
        try:
            with open(path, encoding="utf-8", newline="") as file:
                header, *lines = csv.reader(file, strict=True)
            rows = tuple(_parse_row(header, line) for line in lines)
            epochs = [row["epoch"] for row in rows]
            if not epochs or epochs != sorted(set(epochs)):
                raise ValueError(f"expected increasing epochs, found {epochs}")
        except FileNotFoundError:
            raise TailproofError(
                f"{path} does not exist: run snakemake to train this expert"
            ) from None
        except (csv.Error, KeyError, ValueError) as error:
            raise TailproofError(
                f"{path} is not the history of a training run ({error}): delete it and run "
                "snakemake again"
            ) from None
        return cls(Path(path), tuple(header), rows)

    @property
    def last(self) -> Row:
        """The row of the last epoch."""
        return self.rows[-1]

    def at(self, epoch: int) -> Row:
        """Return the row of an epoch."""
        return next(row for row in self.rows if row["epoch"] == epoch)

    def best(self, metric: str) -> Row | None:
        """Return the row with the best value of a metric, the first one on a tie.

        Returns:
            The row; None if no epoch has a finite value.

        Raises:
            TailproofError: the history has no such column.
        """
        if metric not in self.columns:
            raise TailproofError(
                f"{self.path} has no column '{metric}', found {', '.join(self.columns)}: choose "
                "another recipe.monitor if val is too small for this one, or delete the file and "
                "run snakemake again"
            )
        values = (row.get(metric, math.nan) for row in self.rows)
        index = best_index(values, direction(metric))
        return None if index is None else self.rows[index]


def improves(value: float, best: float | None, direction: float) -> bool:
    """Return whether a value is finite and strictly better than the best one before it.

    Args:
        value: the new value.
        best: the best value so far; None before the first finite one.
        direction: 1 if higher values are better, -1 if lower ones are.
    """
    return math.isfinite(value) and (best is None or direction * value > direction * best)


def best_index(values: Iterable[float], direction: float) -> int | None:
    """Return the index of the best finite value, the first on a tie; None if there is none."""
    best, index = None, None
    for position, value in enumerate(values):
        if improves(value, best, direction):
            best, index = value, position
    return index


def write_history(path: str | Path, rows: list[Row]) -> None:
    """Write history.csv; a missing value is an empty cell.

    Columns that only some runs have follow `COLUMNS` in the order of first appearance.
    """
    columns = dict.fromkeys((*COLUMNS, *(name for row in rows for name in row)))
    write_text(path, to_csv(list(columns), rows))


def to_csv(columns: list[str], rows: Iterable[Mapping[str, float | str]]) -> str:
    """Return rows as CSV; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _format_cell(value) for name, value in row.items()})
    return text.getvalue()


def _format_cell(value: float | str) -> str:
    return str(value) if isinstance(value, int | str) else f"{value:.8g}"


def _parse_row(header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise ValueError(f"expected {len(header)} values in each row, found {len(cells)}")
    row: Row = {name: float(cell) for name, cell in zip(header, cells, strict=True) if cell}
    if row["epoch"] % 1:
        raise ValueError(f"expected a whole number as epoch, found {row['epoch']:g}")
    return row | {"epoch": int(row["epoch"])}
