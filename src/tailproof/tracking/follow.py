"""`tailproof track`: follows the runs of an experiment and writes their epochs to trackers."""

import time
from typing import Protocol

from tailproof.config.validation import load_experiment
from tailproof.output import report
from tailproof.project import EXPERIMENTS, project_paths
from tailproof.report.training_progress import RunProgress, read_all_progress
from tailproof.runtime.errors import TailproofError
from tailproof.tracking.events import TrackedRun, tracked
from tailproof.untrusted_text import printable

SECONDS = 10.0
"""How long it waits before it reads the files again."""


class Tracker(Protocol):
    """What shows runs: see `tailproof.tracking.tensorboard`."""

    name: str

    def write(self, run: TrackedRun) -> None:
        """Add the epochs of a run that are not there yet."""


def open_trackers(tensorboard: str | None, mlflow: str | None) -> list[Tracker]:
    """Return the trackers that a user named.

    Args:
        tensorboard: a folder for event files.
        mlflow: the URI of a server or a store.

    Raises:
        TailproofError: none is named, a package is missing, or the folder is among the results.
    """
    trackers: list[Tracker] = []
    if tensorboard is not None:
        from tailproof.tracking.tensorboard import TensorBoard

        project_paths().check_output("--tensorboard", tensorboard)
        trackers.append(TensorBoard(tensorboard))
    if mlflow is not None:
        from tailproof.tracking.mlflow import MLflow

        trackers.append(MLflow(mlflow))
    if not trackers:
        raise TailproofError("name a tracker: --tensorboard FOLDER, --mlflow URI, or both")
    return trackers


def follow(name: str, trackers: list[Tracker], seconds: float = SECONDS) -> int:
    """Write the epochs of all runs of an experiment to trackers until every run is finished.

    A tracker that fails is reported once and asked again each time. Nothing is lost: what it lacks
    is read again from the files.

    Args:
        name: the name of the experiment.
        trackers: see `open_trackers`.
        seconds: how long to wait before the files are read again.

    Returns:
        the number of runs.

    Raises:
        TailproofError: the configuration is wrong, or a tracker fails at the end.
    """
    failed: dict[str, str] = {}
    while True:
        experiment = load_experiment(EXPERIMENTS / f"{name}.yaml")
        progress = list(read_all_progress(experiment, name, project_paths()))
        for tracker in trackers:
            _write_to_tracker(tracker, name, progress, failed)
        if all(run.state == "finished" for run in progress):
            break
        time.sleep(seconds)
    if failed:
        sentences = "; ".join(f"{tracker}: {why}" for tracker, why in failed.items())
        raise TailproofError(
            f"the runs are finished, but not all of their epochs are written ({sentences}): run "
            "the same command again"
        )
    return len(progress)


def _write_to_tracker(
    tracker: Tracker, name: str, progress: list[RunProgress], failed: dict[str, str]
) -> None:
    """Write all runs to a tracker; report the first failure, and that it works again."""
    try:
        for run in progress:
            if known := tracked(name, run):
                tracker.write(known)
    except Exception as error:  # any kind: the tracker's own, of its server or of its disk
        if tracker.name not in failed:
            why = printable(f"{type(error).__name__}: {error}")[:300]
            failed[tracker.name] = why
            report(
                f"{tracker.name} failed ({why}): training is not affected, and writing is tried "
                "again"
            )
    else:
        if failed.pop(tracker.name, None):
            report(f"{tracker.name} works again")
