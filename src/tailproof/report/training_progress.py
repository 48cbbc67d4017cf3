"""How far the training runs of an experiment are, from files alone: logs, histories, states.

It opens nothing for writing and takes no lock, so that a run that is looked at is as any other.
"""

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.config.sweep import WINNER
from tailproof.diagnosis.training_log import Attempt, Epoch, TrainingLog
from tailproof.files import read_json
from tailproof.history import History
from tailproof.project import Paths
from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.process import is_locked, is_running
from tailproof.sweep.rungs import recipe_for_slot

State = Literal[
    "waiting", "starting", "training", "silent", "interrupted", "killed", "failed", "finished"
]

SILENT_SECONDS = 600.0
"""A run on another machine is silent if its log has no new line for this long, and for three
epochs."""

FINISHED = "finished"
"""Why an attempt ended that wrote all files of the run."""

FIELDS = {"attempt", "start", "end", "seconds", "reason", "first_epoch", "last_epoch", "host"}
"""What every entry of attempts.json has."""

MEASURED = 5  # epochs whose median duration is expected of the next ones
Timing = Callable[[], dict[str, Any]]
"""Reads what the preflight measured of each expert."""

_STATE = re.compile(r"epoch-(\d+)-step-(\d+)\.\w+\.pt")


class Job(NamedTuple):
    """A training job.

    Attributes:
        stage: train, or rung for a round of a sweep that ends early.
        expert: the expert, point or place.
        seed: its seed.
        epochs: the number of epochs that it trains to; None before its recipe is known.
        recipe: its recipe; None for a place of a sweep that no point has reached yet.
    """

    stage: str
    expert: str
    seed: int
    epochs: int | None
    recipe: Recipe | None

    @property
    def name(self) -> str:
        """The name of its record and its log."""
        return f"{self.stage}/{self.expert}-{self.seed}"


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        job: the job.
        state: what it does.
        done: the number of finished epochs.
        history: its finished epochs; None before the first one.
        seconds: the expected duration of an epoch; None where nothing is known.
        end: when it is expected to end at the latest; None if it does not run.
        left: seconds of training that are left; None where nothing is known.
        saved: epoch and step of the newest state, from which it would resume; None without one.
        attempts: the attempts as training records them.
        last: when it wrote the last line of its log; None without a log.
        error: the error that it ended with; empty without one.
        key: the key of the run; empty before it is known.
        times: when each epoch ended, where its log says so.
    """

    job: Job
    state: State
    done: int = 0
    history: History | None = None
    seconds: float | None = None
    end: datetime | None = None
    left: float | None = None
    saved: tuple[int, int] | None = None
    attempts: tuple[dict[str, Any], ...] = ()
    last: datetime | None = None
    error: str = ""
    key: str = ""
    times: dict[int, datetime] | None = None


def training_jobs(experiment: Experiment, folder: Path) -> list[Job]:
    """Return the training jobs of an experiment, the rounds of its sweep first.

    Args:
        experiment: its configuration.
        folder: results/NAME.
    """
    halving = experiment.sweep.halving if experiment.sweep else None
    rounds = [*experiment.rounds[:-1], experiment.trained]
    jobs = []
    for number, names in enumerate(rounds):
        until = halving.rungs[number] if halving and number < len(rounds) - 1 else None
        stage = "train" if until is None else "rung"
        for name in names:
            recipe = _recipe(experiment, folder, name)
            epochs = until or (recipe.epochs if recipe else None)
            jobs += [Job(stage, name, seed, epochs, recipe) for seed in experiment.seeds]
    return jobs


def _recipe(experiment: Experiment, folder: Path, name: str) -> Recipe | None:
    recipes = experiment.experts | experiment.points
    if name in recipes:
        return recipes[name]
    standing = folder / "experts" / WINNER / f"{name.rsplit('-place-', 1)[0]}.json"
    return Recipe(**recipe_for_slot(standing, name)) if standing.exists() else None


def read_progress(
    job: Job,
    name: str,
    paths: Paths,
    now: datetime | None = None,
    timing: Timing | None = None,
) -> RunProgress:
    """Return how far a training job is.

    Args:
        job: the job.
        name: the name of the experiment.
        paths: the folders of the project.
        now: the time; the clock's by default.
        timing: reads what the preflight measured; give one that remembers it for many jobs.

    Raises:
        TailproofError: a file is damaged.
    """
    folder = paths.experiment(name) / "experts" / job.expert / f"seed-{job.seed}"
    log = read_training_log(paths.logs_of(name), job.name)
    recorded = Path(paths.record(name, *job.name.split("/"))).exists()
    history = folder / ("history.csv" if job.stage == "train" else "rung.csv")
    if recorded and history.exists():
        facts = read_json(training) if (training := folder / "training.json").exists() else {}
        key = facts.get("state") or (log.key if log else "")
        attempts = facts.get("attempts") or _attempts(paths.training_states, key)
        return _finished(job, History.read(history), log, key, attempts, facts)
    timing = timing or partial(_read_timing, paths.experiment(name))
    if log is None:
        return RunProgress(job, "waiting", seconds=_mean(_planned(job, timing)))
    states = paths.training_states / log.key if log.key else None
    now = now or datetime.now(UTC)
    epochs = log.epochs
    durations = _durations(job, epochs, _planned(job, timing))
    left = sum(durations[log.last.done :]) if durations else None
    attempts = _attempts(paths.training_states, log.key)
    state = _state(log.last, states, durations, now)
    if state == "killed" and attempts and attempts[-1]["reason"] == FINISHED:
        state = "waiting"  # its files were deleted since
    since = log.last.epochs[-1].time if log.last.epochs else log.last.begun
    end = max(since + timedelta(seconds=left), now) if since and left is not None else None
    return RunProgress(
        job,
        state,
        log.last.done,
        _history(log, epochs),
        _mean(durations[log.last.done :][:1]),
        end if state == "training" else None,
        left,
        _newest_state(states),
        attempts,
        log.last.last,
        log.last.error if state in ("failed", "interrupted") else "",
        log.key,
        {int(epoch.row["epoch"]): epoch.time for epoch in epochs},
    )


def read_training_log(logs: Path, job: str) -> TrainingLog | None:
    """Return the log of a training job; None if it has not started.

    Args:
        logs: logs/NAME.
        job: STAGE/NAME of the job.
    """
    return TrainingLog.read(logs / f"{job}.log")


def _finished(
    job: Job,
    history: History,
    log: TrainingLog | None,
    key: str,
    attempts: Sequence[dict[str, Any]],
    facts: dict[str, Any],
) -> RunProgress:
    return RunProgress(
        job,
        "finished",
        int(history.last["epoch"]),
        history,
        _mean(facts.get("seconds_an_epoch", [])[-MEASURED:]),
        attempts=tuple(attempts),
        last=log.last.last if log else None,
        key=key,
        times={int(epoch.row["epoch"]): epoch.time for epoch in log.epochs} if log else {},
    )


def _history(log: TrainingLog, epochs: list[Epoch]) -> History | None:
    rows = tuple(epoch.row for epoch in epochs)
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return History(Path(log.key), columns, rows) if rows else None


def _state(last: Attempt, states: Path | None, durations: list[float], now: datetime) -> State:
    if last.error:
        return "interrupted" if last.error.startswith(Interrupted.START) else "failed"
    here = last.host == socket.gethostname()
    if (states and is_locked(states / "lock")) or (here and is_running(last.process, last.start)):
        return "training" if last.begun else "starting"
    if here:
        return "killed"
    patience = max([SILENT_SECONDS, *(3 * seconds for seconds in durations)])
    if (now - last.last).total_seconds() > patience:
        return "silent"
    return "training" if last.begun else "starting"


def _durations(job: Job, epochs: list[Epoch], planned: list[float]) -> list[float]:
    """Return the expected duration of each epoch; empty where nothing is known.

    An epoch takes as long as the last ones of its phase. One of another phase takes as long as the
    preflight measured, times the factor between the two in the phase of the last epoch.
    """
    if job.recipe is None or job.epochs is None:
        return []
    starts = [phase.from_epoch for phase in job.recipe.timeline]

    def phase(epoch: int) -> int:
        return sum(start <= epoch for start in starts) - 1

    seconds: dict[int, list[float]] = {}
    for epoch in epochs:
        if epoch.seconds is not None:
            seconds.setdefault(phase(int(epoch.row["epoch"])), []).append(epoch.seconds)
    measured = {number: median(all_[-MEASURED:]) for number, all_ in seconds.items()}
    if not measured and not planned:
        return []
    expected = planned
    if measured:
        last = next(reversed(measured))
        factor = measured[last] / planned[last] if planned else 1.0
        expected = [
            measured.get(number, planned[number] * factor if planned else measured[last])
            for number in range(len(starts))
        ]
    return [expected[phase(epoch)] for epoch in range(1, job.epochs + 1)]


def _read_timing(folder: Path) -> dict[str, Any]:
    """Return what the preflight measured of each expert; nothing before it ran."""
    path = folder / "preflight_timing.json"
    return read_json(path)["experts"] if path.exists() else {}


def _planned(job: Job, timing: Timing) -> list[float]:
    """Return the seconds that the preflight measured for an epoch of each phase; or nothing."""
    if job.recipe is None:
        return []
    epoch = timing().get(job.expert, {}).get("epoch", [])
    return epoch if len(epoch) == len(job.recipe.timeline) and all(epoch) else []


def _newest_state(states: Path | None) -> tuple[int, int] | None:
    if states is None or not states.is_dir():
        return None
    matches = filter(None, (_STATE.fullmatch(path.name) for path in states.iterdir()))
    return max(((int(match[1]), int(match[2])) for match in matches), default=None)


def _attempts(states: Path, key: str) -> tuple[dict[str, Any], ...]:
    """Return the attempts of a run; none while its key is unknown, or if the list is damaged."""
    try:
        attempts = read_json(states / key / "attempts.json") if key else []
    except TailproofError:
        return ()
    known = isinstance(attempts, list) and all(isinstance(one, dict) for one in attempts)
    return tuple(attempts) if known and all(one.keys() >= FIELDS for one in attempts) else ()


def _mean(seconds: list[float]) -> float | None:
    return sum(seconds) / len(seconds) if seconds else None


def read_all_progress(experiment: Experiment, name: str, paths: Paths) -> Iterator[RunProgress]:
    """Yield how far each training job of an experiment is; see `read_progress`."""
    timing = cache(partial(_read_timing, paths.experiment(name)))
    for job in training_jobs(experiment, paths.experiment(name)):
        yield read_progress(job, name, paths, timing=timing)
