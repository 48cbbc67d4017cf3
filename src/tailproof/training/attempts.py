"""The attempts of a run: one entry per job that trained it, stored next to its states."""

import logging
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailproof.files import read_json, write_json
from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)


class Attempts:
    """The list of attempts on disk, which stays up to date if the process is killed.

    An attempt that did not record its end was killed; its end is the last recorded time. The
    difference between start and end is not its duration if the clock was set or the machine slept.

    Args:
        folder: folder of the run's states.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "attempts.json"
        self.entries: list[dict[str, Any]] = []
        self._begun: float | None = None  # by a clock that nobody sets
        if self._path.exists():
            try:
                self.entries = read_json(self._path)
            except TailproofError as error:
                log.warning("the list of earlier attempts is lost: %s", error)

    def begin(self, epoch: int, device: str, processes: int) -> None:
        """Record a new attempt, which starts within or before `epoch`."""
        self._begun = time.monotonic()
        self.entries.append(
            {
                "attempt": len(self.entries) + 1,
                "start": _now(),
                "end": _now(),
                "seconds": 0.0,
                "reason": "killed",
                "first_epoch": epoch,
                "last_epoch": epoch,
                "host": socket.gethostname(),
                "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
                "device": device,
                "processes": processes,
            }
        )
        self._write()

    def seen(self, epoch: int) -> None:
        """Record that the attempt is still running in `epoch`."""
        self._update({"last_epoch": epoch})

    def end(self, epoch: int, reason: str) -> None:
        """Record why the attempt ends, if it has begun."""
        if self._begun is not None:
            self._update({"last_epoch": epoch, "reason": reason})

    def _update(self, fields: dict[str, Any]) -> None:
        assert self._begun is not None  # an attempt has begun
        seconds = round(time.monotonic() - self._begun, 3)
        self.entries[-1] |= {"end": _now(), "seconds": seconds, **fields}
        self._write()

    def _write(self) -> None:
        try:
            write_json(self._path, self.entries)
        except TailproofError as error:
            log.warning("the list of attempts could not be updated: %s", error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
