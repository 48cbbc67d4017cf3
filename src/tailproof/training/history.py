"""history.csv: one row an epoch, the same bytes for the same run."""

import csv
import io
from pathlib import Path

from tailproof.files import write_text

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


def write_history(path: str | Path, rows: list[Row]) -> None:
    """Write the rows; a column without a value in an epoch is left empty.

    What only some runs measure follows `COLUMNS` in the order of its first appearance.
    """
    text = io.StringIO()
    further = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    writer = csv.DictWriter(text, [*COLUMNS, *further], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _shown(value) for name, value in row.items()})
    write_text(path, text.getvalue())


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.8g}"
