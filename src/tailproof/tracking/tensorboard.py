"""TensorBoard: a folder of event files for each run."""

import os
from pathlib import Path
from typing import Any

from tailproof.diagnosis.readers.event_file import is_event_file, read_event_file
from tailproof.runtime.errors import TailproofError
from tailproof.tracking.events import Event, TrackedRun


class TensorBoard:
    """Writes the epochs of runs to event files, each epoch once.

    The folder of a run is FOLDER/EXPERIMENT/EXPERT-seed-S.KEY. A process appends to no file of
    another one: it reads what is there, and begins a file of its own.

    Args:
        folder: the folder of all runs, which TensorBoard reads.

    Raises:
        TailproofError: the package tensorboard is not installed.
    """

    name = "TensorBoard"

    def __init__(self, folder: str | Path) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            raise TailproofError(
                "--tensorboard needs the package tensorboard: pip install 'tailproof[tensorboard]'"
            ) from None
        self._folder, self._records = Path(folder), RecordWriter
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._done: dict[str, int] = {}
        self._files: dict[str, Path] = {}

    def write(self, run: TrackedRun) -> None:
        """Add the epochs of a run that are not there yet.

        Raises:
            OSError: the folder cannot be written.
        """
        if run.key not in self._done:
            self._done[run.key] = _last_step(self._folder_of(run))
        events = [event for event in run.events if event.step > self._done[run.key]]
        if not events:
            return
        begins = run.key not in self._files
        if begins:
            folder = self._folder_of(run)
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{events[0].time:.0f}.{os.getpid()}"
            self._files[run.key] = folder / name
        with self._files[run.key].open("ab") as file:
            writer = self._records(file)
            if begins:
                version = self._event(wall_time=events[0].time, file_version="brain.Event:2")
                writer.write(version.SerializeToString())
            for event in events:
                writer.write(self._encoded(event).SerializeToString())
        self._done[run.key] = events[-1].step

    def _encoded(self, event: Event) -> Any:
        value = self._summary.Value
        values = [value(tag=tag, simple_value=number) for tag, number in event.values.items()]
        return self._event(
            wall_time=event.time, step=event.step, summary=self._summary(value=values)
        )

    def _folder_of(self, run: TrackedRun) -> Path:
        """Return the folder of a run; a place of a sweep continues the run of its point."""
        folder = self._folder / run.experiment
        known = sorted(folder.glob(f"*.{run.key}")) if folder.is_dir() else []
        return known[0] if known else folder / f"{run.name}.{run.key}"


def _last_step(folder: Path) -> int:
    """Return the last epoch in the event files of a folder; 0 if no intact one has any."""
    steps = [0]
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_event_file(path):
            try:
                steps += [int(row["step"]) for row in read_event_file(path).rows]
            except TailproofError:
                continue
    return max(steps)
