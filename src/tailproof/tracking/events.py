"""What a tracker shows of a run: one event for each epoch, with a value by tag."""

from typing import Any, NamedTuple

from tailproof.report.training_progress import RunProgress

PARTS = ("train_", "val_")


class Event(NamedTuple):
    """A finished epoch.

    Attributes:
        step: the epoch.
        time: when it ended, in seconds since 1970.
        values: the values by tag, `learning_rate` last. NaN and infinity are values too.
    """

    step: int
    time: float
    values: dict[str, float]


class TrackedRun(NamedTuple):
    """A run as trackers name it.

    Attributes:
        key: digest of data, recipe, seed and code. A run that resumes has the same one, a run of
            another recipe has another one.
        experiment: the name of the experiment.
        expert: the name of the expert.
        seed: its seed.
        state: what the run does; see `tailproof.report.training_progress`.
        settings: the fields of the recipe that affect the result, by dotted key.
        events: the epochs so far.
    """

    key: str
    experiment: str
    expert: str
    seed: int
    state: str
    settings: dict[str, str]
    events: list[Event]

    @property
    def name(self) -> str:
        """The name of the run for people."""
        return f"{self.expert}-seed-{self.seed}"


def tracked(experiment: str, run: RunProgress) -> TrackedRun | None:
    """Return a run with the events of its epochs; None before its first epoch has ended."""
    if run.history is None or not run.key:
        return None
    times = run.times or {}
    last = run.last.timestamp() if run.last else 0.0
    events = []
    for row in run.history.rows:
        values = {tag_of(name): value for name, value in row.items() if name != "epoch"}
        values = {"learning_rate": values.pop("learning_rate", float("nan"))} | values
        epoch = int(row["epoch"])
        time = times[epoch].timestamp() if epoch in times else last
        events.append(Event(epoch, time, dict(reversed(values.items()))))
    settings = run.job.recipe.result_fields() if run.job.recipe else {}
    return TrackedRun(
        run.key, experiment, run.job.expert, run.job.seed, run.state, dict(_flat(settings)), events
    )


def tag_of(column: str) -> str:
    """Return the tag of a column of history.csv: trackers group ``val/loss`` by its ``val``."""
    part = next((part for part in PARTS if column.startswith(part)), "")
    return f"{part[:-1]}/{column.removeprefix(part)}" if part else column


def _flat(value: Any, key: str = "") -> list[tuple[str, str]]:
    """Return nested values as texts by dotted key, without those that are not set."""
    if isinstance(value, dict):
        return [
            pair
            for name, item in value.items()
            for pair in _flat(item, f"{key}.{name}" if key else str(name))
        ]
    return [] if value is None else [(key, str(value))]
