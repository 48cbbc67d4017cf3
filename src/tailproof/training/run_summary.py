"""The few numbers of a trained expert that its record keeps for the experiment log."""

import csv
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from tailproof.files import read_json


def results_of(folder: str | Path, states: str | Path) -> dict[str, Any]:
    """Return best epoch, last validated metrics, first weights, what all attempts took.

    Args:
        folder: of the expert and seed, with training.json and history.csv.
        states: where training keeps its states.
    """
    training = read_json(Path(folder) / "training.json")
    with open(Path(folder) / "history.csv", encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    spans = [
        datetime.fromisoformat(each["end"]) - datetime.fromisoformat(each["start"])
        for each in training["attempts"]
    ]
    return {
        "best_epoch": training["best"]["epoch"],
        "monitor": training["best"]["monitor"],
        "monitored": training["best"]["value"],
        "epochs": training["epochs"],
        "initial_weights": training["initial_weights"],
        "last": {name: _finite(text) for name, text in last.items() if name.startswith("val_")},
        "attempts": len(spans),
        "seconds": sum(span.total_seconds() for span in spans),
        "checkpoint_bytes": _newest_checkpoint(Path(states) / training["state"]),
    }


def _newest_checkpoint(folder: Path) -> int:
    newest = max(folder.glob("epoch-*.pt"), default=None)
    return newest.stat().st_size if newest else 0


def _finite(text: str) -> float | None:
    value = float(text or "nan")
    return value if math.isfinite(value) else None
