"""Reads histories: from paths to one `RunHistory` per run, with what was understood."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tailproof.diagnosis.column_aliases import (
    NO_METRIC,
    is_metric,
    is_time,
    read_name,
    words_of,
)
from tailproof.diagnosis.history import RunHistory, mark_infinite_losses
from tailproof.diagnosis.readers.cells import (
    NoNumberError,
    is_missing,
    is_number,
    is_percent,
    read_epoch,
    read_number,
)
from tailproof.diagnosis.readers.columns import (
    CHOSEN,
    CONSTANT,
    Cells,
    Choices,
    Column,
    decide_columns,
    read_choices,
)
from tailproof.diagnosis.readers.epochs import MeasuredRow, rows_of_epochs
from tailproof.diagnosis.readers.families import recognize, without_summaries
from tailproof.diagnosis.readers.file_forms import (
    files_in,
    read_files_of_epochs,
    read_tables,
)
from tailproof.diagnosis.readers.runs_in_table import Part, separate_evaluation_sets, separate_runs
from tailproof.diagnosis.readers.runs_of_files import Source, by_run, rows_of_run
from tailproof.diagnosis.readers.table import PassedOver, Rows
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.text import listed


@dataclass(frozen=True)
class Reading:
    """A history, and what was understood of its files.

    Attributes:
        path: the first file.
        files: all files of the run.
        form: what kind of files they are.
        history: the numbers by canonical name.
        columns: what each column was read as, in the order of the file.
        passed_over: rows and files that are not part of the history.
        notes: what else was understood, in sentences.
        repeats: whether another reading has the same training, validated on another set.
    """

    path: Path
    files: tuple[Path, ...]
    form: str
    history: RunHistory
    columns: tuple[Column, ...]
    passed_over: tuple[PassedOver, ...] = ()
    notes: tuple[str, ...] = ()
    repeats: bool = False

    @property
    def judged(self) -> list[Column]:
        """The metrics that detectors read."""
        return [c for c in self.columns if is_metric(c.read_as) and c.judged]

    @property
    def not_judged(self) -> list[Column]:
        """The columns that could be metrics and that no detector reads."""
        return [c for c in self.columns if c.noted and not c.judged]


def read_history(path: str | Path) -> RunHistory:
    """Read one file with one run.

    Raises:
        TailproofError: the file is missing, empty, no history, or holds several runs.
    """
    readings = read_histories([Path(path)])
    if len(readings) > 1:
        raise TailproofError(
            f"{path} holds {len(readings)} runs, expected one: give each run as a file of its own"
        )
    return readings[0].history


def read_histories(paths: list[Path], columns: str | None = None) -> list[Reading]:
    """Read files and folders; the files of one run, such as one per metric, become one history.

    Each history gets the shortest name that distinguishes it.

    Args:
        paths: files, or folders that hold some.
        columns: columns that the caller chose, as ``val_auroc=val_auc,…``.

    Raises:
        TailproofError: a file is missing, empty, or no history.
    """
    choices = read_choices(columns) if columns else {}
    sources: list[Source] = []
    passed_over: list[PassedOver] = []
    for path in dict.fromkeys(paths):
        if path.is_dir():
            inside, others = _read_folder(path, choices)
            sources += inside
            passed_over += others
        else:
            sources += [Source(path, table) for table in read_tables(path)]
    readings: list[Reading] = []
    for name, group in by_run(sources).items():
        readings += _readings(name, group, choices)
    missing = [c for c in choices if not any(c in _names(source.table.rows) for source in sources)
               and not any(c == column.name for r in readings for column in r.columns)]  # fmt: skip
    if missing:
        names = [column.name for reading in readings for column in reading.columns]
        raise TailproofError(
            f"--columns: no column is named {missing[0]!r}{suggestion(missing[0], names)}, "
            f"expected one of {', '.join(dict.fromkeys(names))[:200]}: correct the name"
        )
    if passed_over and readings:
        first = readings[0]
        readings[0] = replace(first, passed_over=(*first.passed_over, *passed_over))
    return readings


def _read_folder(folder: Path, choices: Choices) -> tuple[list[Source], list[PassedOver]]:
    """Read the histories in a folder; files that are none are passed over, unless all are."""
    paths, others = files_in(folder)
    of_epochs = read_files_of_epochs(paths)
    tables = [Source(group[0], table) for group, table in of_epochs]
    merged = {path for group, _ in of_epochs for path in group}
    for path in (path for path in paths if path not in merged):
        try:
            tables += [Source(path, table) for table in read_tables(path)]
        except TailproofError:
            if len(paths) == 1:
                raise
    sources: list[Source] = []
    for group in by_run(tables).values():
        try:
            _readings("", group, choices)
        except TailproofError:
            if len(paths) == 1:
                raise
        else:
            files = {source.path for source in group}
            sources += [source for source in tables if source.path in files]
    unread = sorted(set(paths) - merged - {source.path for source in sources})
    if not sources:
        raise TailproofError(
            f"{folder} contains no history: none of its files is one "
            f"({listed(list(map(str, unread)), 3)}); name the file of the history itself to see "
            "what it lacks"
        )
    passed_over = [others] if others else []
    if unread:
        examples = tuple(str(path.relative_to(folder)) for path in unread[:3])
        passed_over.append(PassedOver("files that are not histories", len(unread), examples))
    return list({id(source): source for source in sources}.values()), passed_over


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(str(key) for row in rows for key in row if key is not None))


def _readings(name: str, group: list[Source], choices: Choices) -> Iterable[Reading]:
    """Return the histories in the files of one run, which may name several themselves."""
    origin = " and ".join(dict.fromkeys(str(source.path) for source in group[:3]))
    rows = rows_of_run(group)
    numbered = all(source.table.numbered for source in group)
    readings: list[Reading] = []
    for run in separate_runs(origin, rows):
        for number, part in enumerate(separate_evaluation_sets(run)):
            full = " ".join(text for text in (name, part.label) if text)
            reading = _reading(full, origin, part, group, choices, numbered)
            readings.append(replace(reading, repeats=part.of_set and number > 0))
    return readings


def _reading(
    name: str,
    origin: str,
    part: Part,
    group: list[Source],
    choices: Choices,
    numbered: bool,
) -> Reading:
    family = recognize(_names(part.rows))
    rows, passed_over = without_summaries(family, part.rows)
    names = _names(rows)
    rows, summaries = _without_summary_epochs(rows, names, choices)
    cells = {key: _cells(rows, key, _is_epoch(key, choices)) for key in names}
    place = group[0].part if len(group) == 1 else ""
    columns = decide_columns(origin, cells, family, choices, place)
    _check_history(origin, columns, rows, numbered)
    measured = [_measured(number, row, columns, cells) for number, row in enumerate(rows)]
    of_steps = any(column.of_steps for column in columns)
    merged, notes = rows_of_epochs(origin, measured, of_steps)
    kept = [row for row in merged if any(is_metric(key) for key in row)]
    if not kept:
        raise TailproofError(
            f"{origin} is not a history: no row has both an epoch and a metric: name "
            "the columns, such as --columns epoch=COLUMN,val_loss=COLUMN"
        )
    first = group[0]
    return Reading(
        first.path,
        tuple(dict.fromkeys(source.path for source in group)),
        first.table.form + (f" of {family.name}" if family.name else ""),
        RunHistory.of(name, kept),
        tuple(columns),
        (*(p for source in group for p in source.table.passed_over), *passed_over, *summaries),
        (*(n for source in group for n in source.table.notes), *part.notes, *notes),
    )


def _is_epoch(name: str, choices: Choices) -> bool:
    if name in choices:
        return choices[name][0] == "epoch"
    return read_name(name).role == "epoch"


def _without_summary_epochs(
    rows: Rows, names: list[str], choices: Choices
) -> tuple[Rows, list[PassedOver]]:
    """Leave out rows with a word such as ``mean`` in place of the epoch."""
    column = next((name for name in names if _is_epoch(name, choices)), None)
    if column is None:
        return rows, []
    kept = [row for row in rows if not _sums_up(row.get(column))]
    count = len(rows) - len(kept)
    return kept, [PassedOver("rows that sum up the run", count)] if count else []


def _sums_up(cell: Any) -> bool:
    try:
        return not is_missing(cell) and read_epoch(cell) is None
    except NoNumberError:
        return False


def _cells(rows: Rows, name: str, of_epochs: bool) -> Cells:
    """Read the numbers of a column."""
    numbers: dict[int, float | None] = {}
    bad, signs = None, False
    for place, row in enumerate(rows):
        cell = row.get(name)
        if is_missing(cell):
            continue
        try:
            number = read_epoch(cell) if of_epochs else read_number(cell)
        except NoNumberError:
            bad = bad or (place, cell)
            continue
        numbers[place] = number
        signs = signs or is_percent(cell)
    return Cells(numbers, signs, bad)


def _measured(
    place: int, row: dict[str, Any], columns: list[Column], cells: dict[str, Cells]
) -> MeasuredRow:
    """Return the numbers of a row by canonical name; None where a cell is blank."""
    measured: MeasuredRow = {}
    for column in columns:
        if not column.read_as or column.name not in row:
            continue
        number = cells[column.name].numbers.get(place)
        if column.read_as == "step" and number is not None and not math.isfinite(number):
            number = None
        if number is not None and column.unit == "percent":
            number /= 100
        if number is not None and column.complement:
            number = 1 - number
        if number is not None or column.read_as not in ("epoch", "step"):
            measured[column.read_as] = number
    numbers = {name: value for name, value in measured.items() if value is not None}
    return measured | mark_infinite_losses(numbers)


def _check_history(origin: str, columns: list[Column], rows: Rows, numbered: bool) -> None:
    """Refuse tables that are no history of a run.

    Raises:
        TailproofError: no column is a metric, or nothing says that rows are epochs.
    """
    read = [column for column in columns if column.read_as]
    names = ", ".join(column.name for column in columns)[:200]
    metrics = [column for column in read if is_metric(column.read_as)]
    if not metrics:
        undecided = next((c.why for c in columns if "--columns" in c.why), "")
        hint = f": {undecided}" if undecided else ""
        raise TailproofError(
            f"{origin} is not a history: none of its columns ({names}) is a metric; expected some "
            "of train_loss, val_loss, train_accuracy, val_accuracy, …; if a column has another "
            f"name, use --columns NAME=COLUMN{hint}"
        )
    if any(column.name == "" for column in columns) and _is_text(rows, ""):
        raise TailproofError(
            f"{origin} is not a history: its column without a name contains text, as tables of "
            "results do; if its rows are epochs, leave this column out"
        )
    epochs = next((column for column in read if column.read_as == "epoch"), None)
    with_steps = any(column.read_as == "step" for column in read)
    if epochs and epochs.why != CHOSEN and not with_steps:
        _check_epochs(origin, epochs.name, columns, rows)
    if epochs or with_steps:
        return
    reason = _reason_for_no_epochs(columns, rows, numbered)
    if reason:
        raise TailproofError(
            f"{origin} is not a history: it has no column of epochs, and {reason}; if its rows are "
            "epochs, name the column that numbers them: --columns epoch=COLUMN"
        )


def _check_epochs(origin: str, name: str, columns: list[Column], rows: Rows) -> None:
    """Refuse rows whose epochs are lengths of trainings, or all the same.

    Raises:
        TailproofError: they are.
    """
    numbers = sorted({read_number(row[name]) for row in rows if is_number(row.get(name))})
    of_val = [c.name for c in columns if is_metric(c.read_as) and c.read_as[:6] != "train_"]
    several = any(sum(not is_missing(row.get(column)) for row in rows) > 1 for column in of_val)
    advice = "if its rows are epochs of one run, name their column: --columns epoch=COLUMN"
    if len(numbers) == 1 and several:
        raise TailproofError(
            f"{origin} is not a history: {name} is {numbers[0]:g} in each row; {advice}"
        )
    if _are_totals(name, numbers):
        raise TailproofError(
            f"{origin} is not a history: the numbers in {name} are not evenly spaced, so they may "
            f"be the lengths of different runs; {advice.replace('COLUMN', name)}"
        )


def _are_totals(name: str, numbers: list[float]) -> bool:
    """Return whether a column named in the plural has lengths of trainings, not epochs."""
    steps = {after - before for before, after in pairwise(numbers)}
    step = min(steps, default=0)
    is_every = len(steps) == 1 and (step == 1 or numbers[0] in (0, 1, step - 1, step))
    return words_of(name)[-1:] == ["epochs"] and not is_every


def _reason_for_no_epochs(columns: list[Column], rows: Rows, numbered: bool) -> str:
    """Return why rows without epoch and step are no epochs; empty if they may be."""
    unread = [c for c in columns if not c.read_as and c.why != NO_METRIC]
    text = next((column.name for column in unread if _is_text(rows, column.name)), None)
    supports = any(words_of(column.name) == ["support"] for column in columns)
    first = columns[0]
    quantity = first.why == NO_METRIC and not is_time(first.name) and _varies(rows, first.name)
    rates = [row.get(c.name) for c in columns if c.read_as == "learning_rate" for row in rows]
    numbers = [read_number(rate) for rate in rates if rate is not None and is_number(rate)]
    reasons = {
        "none of its columns is a known metric": not any(
            column.judged and is_metric(column.read_as) for column in columns
        ),
        "it has only one row": len(rows) == 1,
        "its number of epochs is the same in each row": any(c.why == CONSTANT for c in unread),
        f"the column {text} contains text": text is not None,
        "its column support counts samples of classes": supports,
        f"its first column, {first.name}, is not a known metric": (
            not numbered and first in unread and bool(first.name)
        ),
        f"its first column, {first.name}, is not a time": not numbered and quantity,
        "the learning rate grows from row to row": (
            not numbered and len(numbers) == len(rows) and numbers == sorted(set(numbers))
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _varies(rows: Rows, name: str) -> bool:
    return len({str(row.get(name)) for row in rows}) > 1


def _is_text(rows: Rows, name: str) -> bool:
    cells = [row.get(name) for row in rows if not is_missing(row.get(name))]
    return any(isinstance(cell, str) and not is_number(cell) for cell in cells)
