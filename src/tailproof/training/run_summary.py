"""The summary of a trained expert that its job record stores for the experiment log."""

import math
from pathlib import Path
from typing import Any

from tailproof.files import read_json
from tailproof.history import History


def results_of(folder: str | Path, states: str | Path) -> dict[str, Any]:
    """Return the best epoch, the last val metrics, the initial weights' digest and the duration.

    Args:
        folder: folder of the expert and seed, with training.json and history.csv.
        states: folder of the states of all runs.
    """
    training = read_json(Path(folder) / "training.json")
    history = History.read(Path(folder) / "history.csv")
    last = {name: history.last.get(name, math.nan) for name in history.columns}
    return {
        "best_epoch": training["best"]["epoch"],
        "monitor": training["best"]["monitor"],
        "monitored": training["best"]["value"],
        "epochs": training["epochs"],
        "initial_weights": training["initial_weights"],
        "last": {
            name: value if math.isfinite(value) else None
            for name, value in last.items()
            if name.startswith("val_")
        },
        "attempts": len(training["attempts"]),
        "seconds": attempt_seconds(training),
        "checkpoint_bytes": _newest_checkpoint(Path(states) / training["state"]),
    }


def _newest_checkpoint(folder: Path) -> int:
    newest = max(folder.glob("epoch-*.pt"), default=None)
    return newest.stat().st_size if newest else 0


def attempt_seconds(training: dict[str, Any]) -> float:
    """Return the total duration in seconds of all attempts in training.json."""
    return sum(attempt["seconds"] for attempt in training["attempts"])
