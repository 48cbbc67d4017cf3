"""history.csv: one row an epoch, the same bytes for the same run."""

import csv
import io
from pathlib import Path

from tailproof.core.files import write_text
from tailproof.core.operating_points import POINTS

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

OF_TWO_CLASSES = ("val_auroc", *POINTS)

Row = dict[str, float]


def write_history(path: str | Path, rows: list[Row]) -> None:
    """Write the rows; a column without a value in an epoch is left empty.

    Those of `OF_TWO_CLASSES` that no epoch has are left out.
    """
    text = io.StringIO()
    further = [name for name in OF_TWO_CLASSES if any(name in row for row in rows)]
    writer = csv.DictWriter(text, [*COLUMNS, *further], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _shown(value) for name, value in row.items()})
    write_text(path, text.getvalue())


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.8g}"
