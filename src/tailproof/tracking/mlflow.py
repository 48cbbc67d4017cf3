"""MLflow: a run for each run, in an experiment of the same name."""

import os
from typing import Any

from tailproof.runtime.errors import TailproofError
from tailproof.tracking.events import Event, TrackedRun
from tailproof.untrusted_text import printable

BATCH = 1000  # values in a request at most
SETTINGS = 100  # settings in a request at most
LONGEST = 500  # characters of a setting

QUICK = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Defaults of MLflow's settings: a server that is down is asked again later, not for minutes."""

STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
    "interrupted": "KILLED",
}
"""MLflow's word for the state of a run; it is RUNNING in any other."""

TAG = "tailproof.run"

LAST_WRITTEN = "learning_rate"
"""The last value of an epoch: where it is, the others are too."""


class MLflow:
    """Writes the epochs of runs to an MLflow server or store, each epoch once.

    A run is found again by its key, so that one that resumes continues.

    Args:
        uri: the tracking server or store.

    Raises:
        TailproofError: the package mlflow-skinny is not installed, or it cannot use the address.
    """

    name = "MLflow"

    def __init__(self, uri: str) -> None:
        for name, value in QUICK.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient, entities
        except ImportError:
            raise TailproofError(
                "--mlflow needs the package mlflow-skinny: pip install 'tailproof[mlflow]'"
            ) from None
        try:
            self._client, self._entities = MlflowClient(tracking_uri=uri), entities
        except Exception as error:  # of many kinds: MLflow checks an address only in part
            raise TailproofError(
                f"--mlflow is {printable(uri)}, which MLflow cannot use "
                f"({printable(f'{type(error).__name__}: {error}')[:300]}): name a server, such as "
                "http://127.0.0.1:5000, or a store, such as sqlite:///mlflow.db"
            ) from None
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}
        self._done: dict[str, int] = {}
        self._status: dict[str, str] = {}

    def write(self, run: TrackedRun) -> None:
        """Add the epochs of a run that are not there yet, and its state.

        Raises:
            Exception: of many kinds: the server or the store fails.
        """
        if run.key not in self._runs:
            self._open(run)
        identity = self._runs[run.key]
        events = [event for event in run.events if event.step > self._done[run.key]]
        size = max(1, BATCH // max((len(event.values) for event in events), default=1))
        for start in range(0, len(events), size):
            part = events[start : start + size]
            metrics = [metric for event in part for metric in self._metrics(event)]
            self._client.log_batch(identity, metrics=metrics)
            self._done[run.key] = part[-1].step
        self._set_status(run, identity)

    def _open(self, run: TrackedRun) -> None:
        """Find the run by its key, or create it with the settings of its recipe."""
        experiment = self._experiment(run.experiment)
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{run.key}'", max_results=1)
        if found:
            identity = found[0].info.run_id
            steps = [one.step for one in self._client.get_metric_history(identity, LAST_WRITTEN)]
            self._done[run.key] = max(steps, default=0)
            self._status[run.key] = found[0].info.status
        else:
            tags = {TAG: run.key, "expert": run.expert, "seed": str(run.seed)}
            begun = 1000 * round(run.events[0].time)
            created = self._client.create_run(experiment, begun, tags, run.name)
            identity, self._done[run.key] = created.info.run_id, 0
            self._status[run.key] = "RUNNING"
            settings = [
                self._entities.Param(key, value[:LONGEST]) for key, value in run.settings.items()
            ]
            for start in range(0, len(settings), SETTINGS):
                self._client.log_batch(identity, params=settings[start : start + SETTINGS])
        self._runs[run.key] = identity

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            known = self._client.get_experiment_by_name(name)
            self._experiments[name] = (
                known.experiment_id if known else self._client.create_experiment(name)
            )
        return self._experiments[name]

    def _metrics(self, event: Event) -> list[Any]:
        time = round(1000 * event.time)
        return [
            self._entities.Metric(tag, value, time, event.step)
            for tag, value in event.values.items()
        ]

    def _set_status(self, run: TrackedRun, identity: str) -> None:
        status = STATUS.get(run.state, "RUNNING")
        if status == self._status[run.key]:
            return
        if status == "RUNNING":
            self._client.update_run(identity, status)
        else:
            self._client.set_terminated(identity, status, round(1000 * run.events[-1].time))
        self._status[run.key] = status
