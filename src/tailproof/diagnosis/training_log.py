"""The log of a training job of this project: its epochs before the run has ended.

Training writes history.csv when a run is finished. Until then its log holds the epochs, with five
digits. Only what training itself writes is read, and only lines that are complete.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tailproof.diagnosis.history import RunHistory, mark_infinite_losses
from tailproof.history import Row
from tailproof.runtime.job_logging import HEADER, kept_log
from tailproof.untrusted_files import open_regular

LARGEST = 2**25
"""Bytes at the end of a log that are read: more than 100,000 epochs."""

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ([A-Z]+) (.*)")
_EPOCH = re.compile(r"epoch [0-9.e+]+((?: [A-Za-z]\w* [-+.\w]+)+)")
_BEGINS = re.compile(r"run (\w+): (no state found, starts at|resumes in) epoch (\d+)")
_ENDS = ("ERROR", "CRITICAL")


class Epoch(NamedTuple):
    """A finished epoch.

    Attributes:
        row: its values, as in history.csv.
        time: when it ended.
        seconds: how long it took; None for the epoch in which an attempt resumed.
    """

    row: Row
    time: datetime
    seconds: float | None


@dataclass
class Attempt:
    """One process that trained a run, as its log shows it.

    Attributes:
        start: when it began.
        process: its process id.
        host: where it ran.
        key: the key of the run, the name of the folder of its states; empty before it is known.
        begun: when it began to train; None before that.
        resumed: whether it resumed from a state.
        first: the epoch in which it began to train.
        epochs: the epochs that it finished.
        last: when it wrote its last line; its start before the first one.
        error: the message that it ended with; empty if it did not end with an error.
    """

    start: datetime
    process: int
    host: str
    last: datetime
    key: str = ""
    begun: datetime | None = None
    resumed: bool = False
    first: int = 1
    epochs: list[Epoch] = field(default_factory=list)
    error: str = ""

    @property
    def done(self) -> int:
        """The number of epochs that are finished, those of earlier attempts included."""
        return int(self.epochs[-1].row["epoch"]) if self.epochs else self.first - 1

    def _add(self, time: datetime, level: str, message: str) -> None:
        self.last, self.error = time, message if level in _ENDS else ""
        if match := _BEGINS.match(message):
            self.key, self.begun, self.first = match[1], time, int(match[3])
            self.resumed = match[2].startswith("resumes")
        elif row := _read_row(message):
            before = self.epochs[-1].time if self.epochs else None if self.resumed else self.begun
            seconds = (time - before).total_seconds() if before else None
            self.epochs.append(Epoch(row, time, seconds))


@dataclass(frozen=True)
class TrainingLog:
    """The attempts of a run, the earliest first."""

    attempts: tuple[Attempt, ...]

    @classmethod
    def read(cls, path: Path) -> "TrainingLog | None":
        """Read a log; None if no attempt wrote one yet.

        Between two attempts Snakemake has deleted the log, and only its second name exists.

        Raises:
            TailproofError: it cannot be read.
        """
        for name in (path, kept_log(path)):
            if name.exists():
                attempts = list(_attempts(_complete_lines(name)))
                return cls(tuple(attempts)) if attempts else None
        return None

    @property
    def last(self) -> Attempt:
        """The last attempt."""
        return self.attempts[-1]

    @property
    def key(self) -> str:
        """The key of the run; empty before it is known."""
        return next((one.key for one in reversed(self.attempts) if one.key), "")

    @property
    def epochs(self) -> list[Epoch]:
        """The epochs that led to the last one, of this run alone.

        An epoch that was trained again replaces itself and those after it.
        """
        epochs: list[Epoch] = []
        for attempt in self.attempts:
            for epoch in attempt.epochs if attempt.key == self.key else ():
                while epochs and epochs[-1].row["epoch"] >= epoch.row["epoch"]:
                    epochs.pop()
                epochs.append(epoch)
        return epochs

    def history(self, name: str) -> RunHistory | None:
        """Return the history so far as detectors see it; None before the end of an epoch."""
        rows = [mark_infinite_losses(epoch.row) for epoch in self.epochs]
        return RunHistory.of(name, rows) if rows else None


def _complete_lines(path: Path) -> list[str]:
    with open_regular(path) as file:
        start = max(0, file.seek(0, 2) - LARGEST)
        file.seek(start)
        lines = file.read(LARGEST).decode(errors="replace").split("\n")
    return lines[1 if start else 0 : -1]  # the last one is being written


def _attempts(lines: list[str]) -> Iterator[Attempt]:
    attempt = None
    for line in lines:
        if match := HEADER.fullmatch(line):
            if attempt:
                yield attempt
            start = datetime.fromisoformat(match[1])
            attempt = Attempt(start, int(match[2]), match[3], start)
        elif attempt and (match := _LINE.fullmatch(line)):
            # The line has the local time of the host, the header also its offset from UTC.
            time = datetime.fromisoformat(match[1]).replace(tzinfo=attempt.start.tzinfo)
            attempt._add(time + timedelta(milliseconds=int(match[2])), match[3], match[4])
    if attempt:
        yield attempt


def _read_row(message: str) -> Row | None:
    """Return the values of an epoch; None if the message is not about the end of one."""
    if not _EPOCH.fullmatch(message):
        return None
    words = message.split(" ")
    try:
        row: Row = {
            name: float(number) for name, number in zip(words[::2], words[1::2], strict=True)
        }
    except ValueError:
        return None
    if not math.isfinite(row["epoch"]) or "learning_rate" not in row:
        return None
    return row | {"epoch": int(row["epoch"])}
