"""Decides what each column of a history is: its metric, split and unit.

A name alone does not decide. The names next to it say of which split a bare ``auc`` is, and the
values of related columns say whether 0.9 is a share or 0.9 percent.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tailproof.diagnosis.column_aliases import (
    LEVEL_RANK,
    NO_METRIC,
    ColumnName,
    Part,
    is_metric,
    read_name,
)
from tailproof.diagnosis.readers.families import Family
from tailproof.diagnosis.readers.units import decide_units
from tailproof.runtime.errors import TailproofError, suggestion

CHOSEN = "chosen by --columns"
CONSTANT = "the same in all rows"
"""Why a number of epochs is no counter of epochs."""
PLAIN = ("epoch", "step", "attempt", "learning_rate", "samples")


@dataclass(frozen=True)
class Column:
    """What a column was read as.

    Attributes:
        name: its name in the file.
        read_as: its canonical name; empty if it is passed over.
        unit: ``share`` or ``percent`` for rates, else empty.
        why: how this was decided, or why the column is passed over; empty if its name says it.
        judged: whether detectors read it.
        of_steps: whether its values are those of single batches.
        complement: whether it is an error rate, which is read as an accuracy.
        noted: whether somebody could expect it to be read.
    """

    name: str
    read_as: str = ""
    unit: str = ""
    why: str = ""
    judged: bool = False
    of_steps: bool = False
    complement: bool = False
    noted: bool = True


@dataclass(frozen=True)
class Cells:
    """The numbers of a column, and what else its cells say.

    Attributes:
        numbers: by position of the row; None for the epoch of a row that sums up the others.
        percent_signs: whether cells have percent signs.
        bad: the first row and the cell that is no number; None if there is none.
    """

    numbers: dict[int, float | None] = field(default_factory=dict)
    percent_signs: bool = False
    bad: tuple[int, object] | None = None

    @property
    def values(self) -> list[float]:
        """The numbers alone, in the order of the rows."""
        return [number for number in self.numbers.values() if number is not None]


Choices = dict[str, tuple[str, str]]
"""The canonical name and the unit by the name of a column, as given by ``--columns``."""


def read_choices(text: str) -> Choices:
    """Read ``val_auroc=val_auc,val_accuracy=acc:percent``.

    Raises:
        TailproofError: an entry has another form, or its left side is no name that is read.
    """
    choices: Choices = {}
    for entry in (part.strip() for part in text.split(",")):
        target, equals, name = (part.strip() for part in entry.partition("="))
        unit = next((u for u in ("percent", "share") if name.endswith(f":{u}")), "")
        name = name.removesuffix(f":{unit}") if unit else name
        if not equals or not name:
            raise TailproofError(
                "--columns: expected NAME=COLUMN such as val_auroc=val_auc, or "
                f"NAME=COLUMN:percent, found {entry!r}"
            )
        if target not in PLAIN and not is_metric(target):
            names = (*PLAIN, "train_loss", "val_loss", "train_accuracy", "val_accuracy")
            raise TailproofError(
                f"--columns: the name {target!r} is not known{suggestion(target, names)}: expected "
                "epoch, step, learning_rate, or a metric such as val_loss"
            )
        if name in choices or target in [chosen for chosen, _ in choices.values()]:
            raise TailproofError(f"--columns: {entry!r} repeats a name or a column: remove it")
        choices[name] = (target, unit)
    return choices


def decide_columns(
    origin: str, cells: dict[str, Cells], family: Family, choices: Choices, part: Part = ""
) -> list[Column]:
    """Decide what the columns of a run are.

    Args:
        origin: the file, for messages.
        cells: the content of each column by its name.
        family: whose file it is.
        choices: columns that the caller chose.
        part: the split that the place of the file names.

    Raises:
        TailproofError: two columns of different values could be the same metric, or a metric has
            cells that are no numbers.
    """
    names = {name: _with_family(name, family) for name in cells if name not in choices}
    columns: dict[str, Column] = {}
    for name, (target, unit) in choices.items():
        if name in cells:
            _check_numbers(origin, name, cells[name])
            columns[name] = Column(name, target, unit, CHOSEN, judged=True)
    chosen = {column.read_as: name for name, column in columns.items()}
    measured: dict[str, ColumnName] = {}
    for name, said in names.items():
        if reason := _reason_to_pass_over(origin, name, said, cells[name]):
            noted = said.known or (said.reason != NO_METRIC and _varies(cells[name]))
            columns[name] = Column(name, why=reason, noted=noted)
        else:
            measured[name] = said
    measured, reasons = _with_splits(measured, cells, family, part)
    for name in [name for name, said in measured.items() if _target(said) in chosen]:
        other = chosen[_target(measured.pop(name))]
        columns[name] = Column(name, why=f"--columns names {other} instead")
    for name, column in _without_rivals(origin, measured, cells).items():
        reason = "" if not column.read_as else reasons.get(name, "")
        columns[name] = replace(column, why=column.why or reason)
    decided = [columns[name] for name in cells]
    return decide_units(decided, {name: cells[name].values for name in cells},
                        {name: cells[name].percent_signs for name in cells},
                        {name: names[name].unit for name in names}, family)  # fmt: skip


def _with_family(name: str, family: Family) -> ColumnName:
    said = read_name(name)
    prefix = next((p for p in family.val_prefixes if name.strip().lower().startswith(p)), "")
    if prefix and said.role in ("metric", "other"):
        said = said if said.known else read_name(name.strip()[len(prefix) :])
        metric = said.metric or read_name(name).metric
        return said._replace(role="metric", part="val", metric=metric)
    return said


def _reason_to_pass_over(origin: str, name: str, said: ColumnName, cells: Cells) -> str:
    """Return why a column cannot be one of the history; empty if it can.

    Raises:
        TailproofError: a column whose name is known has cells that are no numbers.
    """
    needed = (said.known and said.part != "test") or said.role == "epoch"
    if needed:
        _check_numbers(origin, name, cells)
    if said.role == "other":
        return said.reason
    if cells.bad:
        return "some cells are not numbers"
    if not cells.numbers:
        return "empty in all rows"
    if "loss" not in said.metric and not any(map(math.isfinite, cells.values)):
        return "not finite in any row"
    if said.role == "epoch" and said.rank and len(cells.numbers) > 1 and not _varies(cells):
        return CONSTANT
    return ""


def _check_numbers(origin: str, name: str, cells: Cells) -> None:
    if cells.bad:
        row, cell = cells.bad
        raise TailproofError(
            f"{origin}, row {row + 1}: {name} is {str(cell)[:60]!r}, expected a number: correct "
            "the cell, or leave out the row"
        )


def _varies(cells: Cells) -> bool:
    return not cells.bad and len(set(cells.numbers.values())) > 1


def _with_splits(
    names: dict[str, ColumnName], cells: dict[str, Cells], family: Family, part: Part
) -> tuple[dict[str, ColumnName], dict[str, str]]:
    """Give every metric a split, and say how the names around it decided."""
    metrics = {name: said for name, said in names.items() if said.role == "metric"}
    stands_in = _test_stands_in(metrics, cells, family)
    reasons: dict[str, str] = {}
    split: dict[str, ColumnName] = {}
    for name, said in names.items():
        if said.role != "metric":
            split[name] = said
        elif said.part == "test" and stands_in:
            split[name] = said._replace(part="val")
            reasons[name] = (
                f"{family.name} uses this name for val"
                if family.test_is_val
                else "there is no val, so test is read as val"
            )
        elif said.part:
            split[name] = said
        else:
            twin, reason = _split_of(said, metrics.values(), stands_in, family, part)
            if twin == "val" and (same := _same_of_train(name, metrics, cells)):
                twin, reason = "train", f"its values are those of {same}"
            split[name] = said._replace(part=twin)
            reasons[name] = reason
    return split, reasons


def _same_of_train(name: str, metrics: dict[str, ColumnName], cells: dict[str, Cells]) -> str:
    """Return the column of train that has the metric and the varying values of another column."""
    twins = (n for n, s in metrics.items() if (s.part, s.metric) == ("train", metrics[name].metric))
    same = (twin for twin in twins if cells[twin].numbers == cells[name].numbers)
    return next(same, "") if _varies(cells[name]) else ""


def _test_stands_in(
    metrics: dict[str, ColumnName], cells: dict[str, Cells], family: Family
) -> bool:
    """Return whether test is measured again and again, and val is not measured at all."""
    tested = {
        s.metric for n, s in metrics.items() if s.part == "test" and len(cells[n].numbers) > 1
    }
    on_val = {s.metric for s in metrics.values() if s.part == "val" and s.known}
    if family.test_is_val:
        return bool(tested) and not tested & on_val
    return bool(tested) and not on_val and family.bare != "val"


def _split_of(
    said: ColumnName,
    others: Iterable[ColumnName],
    test_is_val: bool,
    family: Family,
    part: Part,
) -> tuple[Part, str]:
    """Return the split of a metric whose name says none, and why; empty if it is undecided."""
    parts: dict[str, set[str]] = {}
    for other in others:
        of = "val" if other.part == "test" and test_is_val else other.part
        parts.setdefault(other.metric, set()).add(of)
    twins = parts[said.metric]
    is_loss = said.metric == "loss"
    if family.bare and not is_loss:
        return family.bare, f"{family.name} measures it on {family.bare}"
    if {"train", "val"} <= twins:
        return "", ""
    if "val" in twins or "train" in twins:
        twin = "val" if "val" in twins else "train"
        return (
            "train" if twin == "val" else "val",
            f"{said.metric} of {twin} has its own column",
        )
    if part:
        return part, "the name of the file or folder gives the split"
    return _split_by_custom(is_loss, parts)


def _split_by_custom(is_loss: bool, parts: dict[str, set[str]]) -> tuple[Part, str]:
    """Return the split of a bare metric without a twin, from how the file names the others."""
    bare_is_train = any("" in of and "val" in of and "train" not in of for of in parts.values())
    if bare_is_train and not is_loss:
        return "", ""  # Keras would have a twin; a script may have measured it on val
    if not bare_is_train and any("train" in of for of in parts.values()):
        return "val", "columns of train have train in their names"
    if is_loss or "" in parts.get("loss", ()):
        return (
            "train",
            "no name has a split"
            if not bare_is_train
            else "other columns without a split are of train too",
        )
    return "val", "no name has a split"


def _target(said: ColumnName) -> str:
    if said.role != "metric":
        return said.role
    if said.metric.startswith(("tpr_at_fpr_", "fpr_at_tpr_")) and said.part == "val":
        return said.metric
    metric = "accuracy" if said.metric == "error" else said.metric
    return f"{said.part}_{metric}"


def _without_rivals(
    origin: str, names: dict[str, ColumnName], cells: dict[str, Cells]
) -> dict[str, Column]:
    """Choose one column for each canonical name.

    Raises:
        TailproofError: two columns could be the same metric, and their values differ.
    """
    rivals: dict[str, list[str]] = {}
    columns: dict[str, Column] = {}
    for name, said in names.items():
        if said.part == "test":
            columns[name] = Column(name, why="test must not be used for choosing")
        elif said.role == "metric" and not said.part:
            columns[name] = Column(
                name, why=f"of train or of val: decide with --columns val_{said.metric}={name}"
            )
        else:
            rivals.setdefault(_target(said), []).append(name)
    for target, candidates in rivals.items():
        ordered = sorted(candidates, key=lambda name: (*_rank(names[name]), _natural(name)))
        first = ordered[0]
        for name in ordered[1:]:
            _check_rival(origin, target, first, name, names, cells)
            same = cells[name].numbers == cells[first].numbers
            reason = f"{'the same as' if same else f'{target} is read from'} {first}"
            other = names[name]
            copy = same or other.level != names[first].level or other.metric == "error"
            noted = other.role == "metric" and not copy
            columns[name] = Column(name, why=reason, noted=noted)
        said = names[first]
        columns[first] = Column(
            first,
            target,
            judged=said.role != "metric" or said.judged or said.metric == "error",
            of_steps=said.role == "metric" and any(names[c].level == "step" for c in candidates),
            complement=said.metric == "error",
        )
    return columns


def _rank(said: ColumnName) -> tuple[int, int]:
    return LEVEL_RANK[said.level], said.rank


def _natural(name: str) -> tuple[int, str]:
    return len(name), name


def _check_rival(
    origin: str,
    target: str,
    first: str,
    name: str,
    names: dict[str, ColumnName],
    cells: dict[str, Cells],
) -> None:
    said, other = names[first], names[name]
    if said.role in ("learning_rate", "step") or _rank(said) != _rank(other):
        return
    unknown = said.role == "metric" and not said.known
    if unknown or cells[first].numbers == cells[name].numbers:
        return
    raise TailproofError(
        f"{origin}: {first!r} and {name!r} could both be {target}, and their values differ: choose "
        f"one with --columns '{target}={first}'"
    )
