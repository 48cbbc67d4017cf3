"""A project whose logs, states and histories are written by hand, a line at a time."""

import socket
from pathlib import Path

import yaml

from tailproof.files import write_json

EXPERIMENT = {
    "title": "A <b>bold</b> study",
    "data": {"source": {"name": "digits"}},
    "recipe": {"epochs": 6, "monitor": "val_accuracy"},
    "experts": {"plain": {}, "adjusted": {"loss": {"name": "logit_adjustment"}}},
    "seeds": [0, 1],
}
KEY = "0123456789abcdef"
GONE = 2**22 + 1
"""A process id that Linux never gives."""


def header(start="12:00:00", process=GONE, host=None) -> str:
    host = host or socket.gethostname()
    return f"=== attempt of 2026-01-01 {start}+00:00, process {process} on {host}\n"


def line(time: str, message: str, level="INFO") -> str:
    return f"2026-01-01 {time},000 {level} {message}\n"


def begins(time: str, key=KEY) -> str:
    return line(time, f"run {key}: no state found, starts at epoch 1")


def resumes(time: str, epoch: int, key=KEY) -> str:
    return line(time, f"run {key}: resumes in epoch {epoch} after step 3")


def epoch(time: str, number: int, accuracy="0.5", loss="1.25") -> str:
    return line(
        time,
        f"epoch {number} learning_rate 0.1 train_loss {loss} train_accuracy 0.4 "
        f"val_loss {loss} val_accuracy {accuracy} val_balanced_accuracy 0.3",
    )


def write_project(folder: Path, **changes) -> None:
    files = {"config": {"experiments": ["study"]}, "experiments/study": EXPERIMENT | changes}
    for name, value in files.items():
        path = folder / "config" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value, sort_keys=False))


def write_log(folder: Path, *lines: str, job="train/plain-0") -> Path:
    path = folder / "logs" / "study" / f"{job}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return path


def write_attempts(folder: Path, *reasons: str, key=KEY) -> None:
    """Write the list of attempts next to the states of a run."""
    fields = {
        "start": "2026-01-01T12:00:00+00:00", "end": "2026-01-01T12:30:00+00:00", "seconds": 9.0,
        "first_epoch": 1, "last_epoch": 2, "host": "node7", "slurm_job_id": "4711",
    }  # fmt: skip
    entries = [fields | {"attempt": number, "reason": why} for number, why in enumerate(reasons, 1)]
    write_json(folder / ".state" / "train" / key / "attempts.json", entries)
