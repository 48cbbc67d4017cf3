"""The section on students: how much of the ensemble they keep, and what an answer costs."""

from typing import Any, NamedTuple

from tailproof.evaluation.students import COMPARED
from tailproof.number_format import MINUS, MISSING
from tailproof.report.keyed_number import KeyedNumber, excludes_zero, keyed, measured
from tailproof.report.metric_format import SPACE
from tailproof.report.results import CHOSEN_BY, Results, Value
from tailproof.report.tables import Cell, Row, Table, heading
from tailproof.text import listed, quantity

MEMORISED = 0.99
"""An ensemble that is right for this share of train says of its samples little but their labels."""


class Section(NamedTuple):
    """The content of the section.

    Attributes:
        words: who learnt from whom.
        verdicts: a sentence per student: whether it closes half of the distance.
        costs: a table of accuracy and cost of experts, students and ensemble.
        measured_on: where the images per second were measured.
        distances: a table of what each student gains and misses.
        teacher: a table of how well the ensemble knows train and tune.
        memorised: whether it knows train by heart.
    """

    words: str
    verdicts: list[str]
    costs: Table
    measured_on: str
    distances: Table
    teacher: Table
    memorised: bool


def section(results: Results) -> Section | None:
    """Return the section; None without students."""
    if results.cost is None:
        return None
    students = results.scores.metrics["students"]["test"]
    first = next(iter(students.values()))
    taught = results.experiment.combined
    teacher = {
        seed: results.records[f"teach/teacher-{seed}"].results["teacher"]
        for seed in results.experiment.seeds
    }
    return Section(
        f"{listed(list(students))} {'learns' if len(students) == 1 else 'learn'} from the ensemble "
        f"{first['ensemble']} of {quantity(len(taught), 'expert')} ({listed(taught)}). The best of "
        f"these on dev is {first['best_expert']}.",
        [_verdict(name, own) for name, own in students.items()],
        _costs(results, results.cost["methods"], list(students), first),
        f"{results.cost['device']}, {quantity(results.cost['threads'], 'thread')}, batches of "
        f"{results.cost['batch_size']}",
        _distances(students),
        _teacher(teacher),
        all(own["train"]["balanced_accuracy"] >= MEMORISED for own in teacher.values()),
    )


def _verdict(name: str, values: dict[str, Any]) -> str:
    """Say whether a student closes half of the distance, by the interval of the difference."""
    own, expert, ensemble = values[CHOSEN_BY], values["best_expert"], values["ensemble"]
    beyond = own["beyond_half"]
    between = f"half of the distance from {expert} to {ensemble}"
    low, high = own["distance"]["low"], own["distance"]["high"]
    if high is not None and high < 0:
        return f"{ensemble} is worse than {expert}, so there is no distance for {name} to close."
    if low is None or low <= 0:
        return (
            f"It is not certain that {ensemble} is better than {expert} (the interval of the "
            f"difference includes zero), so there is no clear distance for {name} to close."
        )
    if beyond["low"] > 0:
        return f"{name} closes more than {between}."
    if beyond["high"] < 0:
        return f"{name} closes less than {between}."
    return (
        f"{name} closes about {between}: the test samples are too few to say whether more or less."
    )


def _costs(
    results: Results, costs: dict[str, Any], students: list[str], first: dict[str, Any]
) -> Table:
    scores = results.scores
    tags = dict.fromkeys(students, "student") | {first["ensemble"]: "ensemble"}
    rows = []
    for name, cost in costs.items():
        tag = tags.get(name, "best expert" if name == first["best_expert"] else "expert")
        cells = [Cell(**measured(scores, "test", name, metric)) for metric in COMPARED]
        cells += [
            Cell(KeyedNumber(f"{cost['parameters'] / 1e6:,.2f}", cost["parameters"])),
            Cell(KeyedNumber(f"{cost['multiply_adds'] / 1e6:,.1f}", cost["multiply_adds"])),
            Cell(KeyedNumber(f"{cost['images_per_second']:,.0f}", cost["images_per_second"])),
        ]
        rows.append(Row(name, tag, cells, name))
    head = [heading(metric) for metric in COMPARED]
    head += ["parameters, million", "multiply-adds per image, million", "images per second"]
    return Table("Accuracy on test, and what an answer costs", "method", head, rows)


def _distances(students: dict[str, dict[str, Any]]) -> Table:
    first = next(iter(students.values()))
    expert, ensemble = first["best_expert"], first["ensemble"]
    rows = []
    for name, values in students.items():
        for metric in COMPARED:
            own = values[metric]
            parts = ("gained", "missing", "distance", "beyond_half")
            cells = [_difference(own[part]) for part in parts]
            rows.append(Row(name, heading(metric, unit="points"), [*cells, _share(own["share"])]))
    head = [
        f"student {MINUS} {expert}",
        f"{ensemble} {MINUS} student",
        f"{ensemble} {MINUS} {expert}",
        "student beyond half of it",
        f"share closed,{SPACE}%",
    ]
    return Table("What students gain and miss on test", "student", head, rows)


def _difference(value: Value) -> Cell:
    shown = keyed(CHOSEN_BY, value, sign=True) | {"sd": None}
    return Cell(**shown, strong=excludes_zero(value))


def _share(value: dict[str, float | None] | None) -> Cell:
    if value is None:
        return Cell(KeyedNumber(MISSING))
    mean = {"mean": value["value"], "low": value["low"], "high": value["high"]}
    return Cell(**keyed(CHOSEN_BY, mean) | {"sd": None})


def _teacher(seeds: dict[int, dict[str, Any]]) -> Table:
    rows = [
        Row(
            f"seed {seed}",
            split,
            [
                Cell(**keyed(CHOSEN_BY, {"mean": own[split][name], "low": None, "high": None}))
                for name in ("balanced_accuracy", "confidence")
            ],
        )
        for seed, own in seeds.items()
        for split in ("train", "tune")
    ]
    head = [heading(CHOSEN_BY), f"confidence,{SPACE}%"]
    return Table("What the ensemble knows about the samples", "seed", head, rows)
