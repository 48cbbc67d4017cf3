"""The page of `tailproof watch`: runs, findings so far, curves, checklist and logs, from files."""

import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

from tailproof.config.experiment import Experiment
from tailproof.config.validation import load_experiment
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.diagnose import context_of_shards, diagnose
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.history import RunHistory, mark_infinite_losses
from tailproof.files import read_json
from tailproof.history import History
from tailproof.number_format import format_number
from tailproof.project import EXPERIMENTS, Paths, project_paths
from tailproof.report.checklist import Progress
from tailproof.report.finding_cards import Card, cards_of_runs
from tailproof.report.metric_format import form_of, monitored, spoken
from tailproof.report.render import REFRESH, render
from tailproof.report.status_block import status_block
from tailproof.report.svg import Chart
from tailproof.report.training_charts import draw_training
from tailproof.report.training_progress import RunProgress, State, read_all_progress
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity
from tailproof.untrusted_files import open_regular
from tailproof.untrusted_text import printable

SHOWN = 8
"""Experts with charts at most: those in training, then those that wrote last."""

LOGS = 3
LINE_BYTES = 4096

NEXT = {
    "killed": "Its process ended without a message. Run snakemake again: training",
    "interrupted": "Run snakemake again: training",
    "silent": "Its log has no new line: check whether its job still runs, with `squeue` on Slurm",
}
"""What is to be said of a run that does not train, before the state from which it resumes."""


class Run(NamedTuple):
    """A row of the table of runs, all of it text.

    Attributes:
        expert: the expert, point or place of a sweep.
        seed: its seed.
        state: what it does.
        done: the number of finished epochs.
        epochs: the number of epochs that it trains to; 0 if it is not known yet.
        epoch: the duration of an epoch.
        end: when it is expected to end, or how long it would take.
        best: the best value of the monitor so far.
        attempts: how many there were.
        note: what else is to be said of its state.
    """

    expert: str
    seed: int
    state: str
    done: int
    epochs: int
    epoch: str
    end: str
    best: str
    attempts: int
    note: str


class Line(NamedTuple):
    """The last line of a log: its file below the logs of the experiment, when, and the line."""

    file: str
    time: str
    text: str


@dataclass
class Watched:
    """An experiment that is read again and again; charts and findings are kept until they change.

    Attributes:
        name: the name of the experiment.
        paths: the folders of the project.
    """

    name: str
    paths: Paths
    _charts: dict[str, tuple[Any, list[Chart]]] = field(default_factory=dict)
    _findings: dict[str, tuple[Any, list[Finding]]] = field(default_factory=dict)

    @classmethod
    def open(cls, name: str) -> "Watched":
        """Open an experiment of the project in the working directory.

        Raises:
            TailproofError: there is none of this name, or its configuration is wrong.
        """
        watched = cls(name, project_paths())
        watched.experiment()
        return watched

    def experiment(self) -> Experiment:
        """Return its configuration as it is now."""
        return load_experiment(EXPERIMENTS / f"{self.name}.yaml")

    def page(self, seconds: float) -> str:
        """Return the page as HTML; the same files give the same page.

        Args:
            seconds: how long the page waits before it asks again.
        """
        values = self._read_or_say()
        logs = list(_last_lines(self.paths.logs_of(self.name)))
        return render(
            "watch.html.j2",
            REFRESH,
            name=self.name,
            seconds=seconds,
            logs=logs,
            summary=_summary(values["runs"]),
            **values,
        )

    def _read_or_say(self) -> dict[str, Any]:
        """Return the values of the template: what can be read, and why the rest cannot."""
        values: dict[str, Any] = {"runs": [], "attempts": [], "charts": [], "hidden": 0}
        values |= {"findings": [], "status": None, "title": self.name, "wrong": []}
        try:
            experiment = self.experiment()
            values["title"] = experiment.title
            self._read(experiment, values)
        except TailproofError as error:
            values["wrong"].append(str(error))
        return values

    def _read(self, experiment: Experiment, values: dict[str, Any]) -> None:
        """Read the files of the experiment into the values of the template."""
        progress = list(read_all_progress(experiment, self.name, self.paths))
        values["runs"] = [_row(run) for run in progress]
        values["attempts"] = [row for run in progress for row in _attempt_rows(run)]
        shown, values["hidden"] = _shown(progress)
        values["charts"] = [(expert, self._draw(expert, runs)) for expert, runs in shown.items()]
        values["findings"] = self._cards(experiment, progress)
        folder, logs = (at(self.name) for at in (self.paths.experiment, self.paths.logs_of))
        checklist = Progress(experiment, folder, logs)
        values["status"] = status_block([], [*checklist.criteria(), checklist.audited()])

    def _draw(self, expert: str, runs: list[RunProgress]) -> list[Chart]:
        histories = {run.job.seed: run.history for run in runs if run.history}
        rows = {seed: history.rows for seed, history in histories.items()}
        recipe = runs[0].job.recipe
        if recipe is None:
            return []
        draw = partial(draw_training, expert, recipe, histories)
        return _kept(self._charts, expert, (recipe, rows), draw)

    def _cards(self, experiment: Experiment, progress: list[RunProgress]) -> list[Card]:
        path = self.paths.experiment(self.name) / "shards" / "manifest.json"
        manifest = read_json(path) if path.exists() else None
        findings: dict[str, dict[int, list[Finding]]] = {}
        for run in progress:
            if run.history and run.job.recipe and manifest:
                known = context_of_shards(manifest, run.job.recipe, experiment.targets)
                context = replace(known, ended=run.state == "finished" and run.job.stage == "train")
                findings.setdefault(run.job.expert, {})[run.job.seed] = _kept(
                    self._findings,
                    run.job.name,
                    (run.history.rows, context),
                    partial(_diagnose, run.history, context),
                )
        return cards_of_runs(findings, experiment.seeds)


def _kept(store: dict[str, tuple[Any, Any]], key: str, facts: Any, make: Callable[[], Any]) -> Any:
    """Return what was made of the same facts before, or make it."""
    if key not in store or store[key][0] != facts:
        store[key] = facts, make()
    return store[key][1]


def _diagnose(history: History, context: Context) -> list[Finding]:
    rows = [mark_infinite_losses(row) for row in history.rows]
    return diagnose(RunHistory.of(history.path.stem, rows), context)


def _shown(progress: list[RunProgress]) -> tuple[dict[str, list[RunProgress]], int]:
    """Return the runs of each expert whose curves are drawn, and the number of other experts."""
    begun: dict[str, list[RunProgress]] = {}
    for run in progress:
        if run.history and run.job.recipe:
            begun.setdefault(run.job.expert, []).append(run)

    def order(expert: str) -> tuple[bool, float]:
        runs = begun[expert]
        last = max(run.last.timestamp() if run.last else 0 for run in runs)
        return all(run.state != "training" for run in runs), -last

    chosen = set(sorted(begun, key=order)[:SHOWN])
    return {name: begun[name] for name in begun if name in chosen}, len(begun) - len(chosen)


def _row(run: RunProgress) -> Run:
    job = run.job
    end = clock(run.end) if run.end else ""
    if not end and run.state == "waiting" and run.seconds and job.epochs:
        end = f"takes about {duration(run.seconds * job.epochs)}"
    elif not end and run.left:
        end = f"{duration(run.left)} left"
    return Run(
        job.expert,
        job.seed,
        run.state,
        run.done,
        job.epochs or 0,
        duration(run.seconds) if run.seconds else "–",
        end or "–",
        _best(run),
        len(run.attempts),
        _note(run),
    )


def _best(run: RunProgress) -> str:
    monitor = run.job.recipe.monitor if run.job.recipe else ""
    if run.history is None or monitor not in run.history.columns:
        return "–"
    row = run.history.best(monitor)
    if row is None:
        return "–"
    metric = monitored(monitor)
    unit = "\u00a0%" if metric.percent else ""
    value = format_number(row[monitor], form_of(metric))
    return f"{spoken(monitor)} {value}{unit} in epoch {row['epoch']}"


def _note(run: RunProgress) -> str:
    if run.state == "failed":
        return run.error
    if run.state not in NEXT:
        return ""
    note = NEXT[run.state]
    if run.state != "silent" or run.last is None:
        place = "starts again"
        if run.saved:
            place = f"resumes in epoch {run.saved[0]} after step {run.saved[1]}"
        return f"{note} {place}."
    return f"{note}; the last one is of {clock(run.last)}."


def _attempt_rows(run: RunProgress) -> Iterator[list[str]]:
    for attempt in run.attempts:
        last = attempt is run.attempts[-1] and run.state == "training"
        end = clock(datetime.fromisoformat(attempt["end"]))
        job = attempt.get("slurm_job_id")
        yield [
            f"{run.job.expert}, seed {run.job.seed}",
            str(attempt["attempt"]),
            clock(datetime.fromisoformat(attempt["start"])),
            "–" if last else end,
            f"{attempt['first_epoch']} to {run.done + 1 if last else attempt['last_epoch']}",
            f"{attempt['host']}, job {job}" if job else str(attempt["host"]),
            "it trains" if last else str(attempt["reason"]),
        ]


def _summary(runs: list[Run]) -> dict[str, Any]:
    """Return the heading of the page, and the number of finished runs."""
    states = [run.state for run in runs]
    counts = [f"{states.count(state)} {state}" for state in get_args(State) if state in states]
    words = f"{quantity(len(runs), 'run')}: {', '.join(counts)}" if runs else "No runs"
    return {"words": words, "finished": states.count("finished")}


def _last_lines(logs: Path) -> Iterator[Line]:
    """Yield the last lines of the logs that were written last."""
    times = {}
    for path in logs.rglob("*.log"):
        with suppress(OSError):  # Snakemake deletes the log of a job that it starts again
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode) and not path.name.startswith("."):
                times[path] = facts.st_mtime
    for path in sorted(times, key=times.__getitem__, reverse=True)[:LOGS]:
        with suppress(TailproofError), open_regular(path) as file:
            file.seek(max(0, file.seek(0, 2) - LINE_BYTES))
            lines = file.read(LINE_BYTES).decode(errors="replace").split("\n")[:-1]
            time = clock(datetime.fromtimestamp(times[path]).astimezone())
            text = next((line for line in reversed(lines) if line.strip()), "")
            yield Line(printable(path.relative_to(logs).as_posix()), time, printable(text))


def clock(time: datetime) -> str:
    """Return a time of today as ``14:03 CET``, another one with its date."""
    time = time.astimezone()
    date = "" if time.date() == datetime.now().date() else f"{time:%Y-%m-%d} "
    return f"{date}{time:%H:%M %Z}"


def duration(seconds: float) -> str:
    """Return a duration in two units at most, such as ``1 h 20 min``."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.1f} days"
