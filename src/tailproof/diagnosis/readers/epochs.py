"""Turns the rows of a history into one row per epoch."""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import groupby, pairwise

from tailproof.history import Row
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

MeasuredRow = dict[str, float | None]
"""Numbers by canonical name; None is a cell that is there and empty."""

_SHARED = {"epoch", "attempt", "step", "learning_rate", "samples"}
_ROUNDING = 1e-6
_FEWEST_RESETS = 3
_FEW_EPOCHS = 5
_LATEST = 10_000_000
"""Larger numbers of epochs are none."""


def rows_of_epochs(
    origin: str, rows: list[MeasuredRow], of_steps: bool
) -> tuple[list[Row], list[str]]:
    """Return one row per epoch, and sentences on how they were found.

    Args:
        origin: the file, for messages.
        rows: in the order of the file.
        of_steps: whether a column has values of single batches.

    Raises:
        TailproofError: a number cannot be that of an epoch.
    """
    notes: list[str] = []
    rows = _without_few_epochs(rows, notes)
    if not any(row.get("epoch") is not None for row in rows):
        rows = _with_epochs_of_resets(rows, notes)
    if any(row.get("epoch") is not None for row in rows):
        merged = _of_epochs(origin, rows, of_steps, notes)
    elif any(row.get("step") is not None for row in rows):
        merged = _of_steps(rows, notes)
    else:
        notes.append("No column numbers the epochs: each row counts as an epoch, from 1.")
        passes = enumerate(_passes(rows), start=1)
        merged = [{**_merged(same_epoch, set()), "epoch": float(n)} for n, same_epoch in passes]
    _mark_blank_losses(merged)
    return [
        {name: value for name, value in row.items() if value is not None} for row in merged
    ], notes


def _values(rows: Iterable[MeasuredRow], name: str) -> list[float]:
    """Return the numbers of a column; rows without one are left out."""
    return [value for row in rows if (value := row.get(name)) is not None]


def _without_few_epochs(rows: list[MeasuredRow], notes: list[str]) -> list[MeasuredRow]:
    """Leave out the numbers of a few epochs in each of which val is measured again and again."""
    epochs = set(_values(rows, "epoch"))
    if not epochs or not all(map(math.isfinite, epochs)):
        return rows
    count = len(set(map(math.ceil, epochs)))
    measured = {row.get("step") for row in rows if _is_validation(row)} - {None}
    if count > _FEW_EPOCHS or len(measured) < _FEWEST_RESETS * count:
        return rows
    notes.append(f"Val is measured {len(measured)} times in {quantity(count, 'epoch')}.")
    return [{name: row[name] for name in row if name != "epoch"} for row in rows]


def _with_epochs_of_resets(rows: list[MeasuredRow], notes: list[str]) -> list[MeasuredRow]:
    """Handle steps that are counted again: as batches of each epoch, or after a restart."""
    measured = [
        (row["step"], name)
        for row in rows
        if row.get("step") is not None
        for name, value in row.items()
        if value is not None and name not in _SHARED
    ]
    if len(set(measured)) == len(measured):
        return rows
    if len({step for step, _ in measured}) == 1:
        return [{**row, "step": None} for row in rows]
    steps = _values(rows, "step")
    if all(a >= b for a, b in pairwise(steps)):
        return rows
    passes: list[list[MeasuredRow]] = [[]]
    last = -math.inf
    for row in rows:
        step = row.get("step")
        if step is not None and step < last:
            passes.append([])
        last = last if step is None else step
        passes[-1].append(row)
    starts = {next((r["step"] for r in p if r.get("step") is not None), None) for p in passes}
    if len(passes) >= _FEWEST_RESETS and len(starts) == 1:
        notes.append(f"The steps start again {len(passes) - 1} times: an epoch begins each time.")
        return [{**row, "epoch": float(n)} for n, rows_ in enumerate(passes, 1) for row in rows_]
    kept = passes[0]
    for again in passes[1:]:
        first = min(_values(again, "step"))
        kept = [row for row in kept if (row.get("step") or 0) < first] + again
    if len(kept) < len(rows):
        notes.append(
            f"Rows that were measured again after a restart are left out ({len(rows) - len(kept)})."
        )
    return kept


def _of_epochs(
    origin: str, rows: list[MeasuredRow], of_steps: bool, notes: list[str]
) -> list[MeasuredRow]:
    for number, row in enumerate(rows, start=1):
        epoch = row.get("epoch")
        if epoch is not None and not 0 <= epoch <= _LATEST:
            raise TailproofError(
                f"{origin}, row {number}: the epoch is {epoch:g}, expected 0 to {_LATEST}: correct "
                "it, or name another column with --columns epoch=COLUMN"
            )
    epochs = _values(rows, "epoch")
    if len(set(epochs)) > 1 and all(a >= b for a, b in pairwise(epochs)):
        rows = rows[::-1]
        notes.append("The rows are in reverse order, the newest first.")
    rows = _spread(rows, notes)
    epochs = _values(rows, "epoch")
    fractions = any(epoch % 1 for epoch in epochs)
    rows = [
        {**row, "epoch": float(math.ceil(epoch - _ROUNDING))}
        for row, epoch in zip(rows, epochs, strict=True)
    ]
    rows = _side_by_side(rows)
    with_steps = any(row.get("step") is not None for row in rows)
    batches = _has_batches(rows) and (not with_steps or _counts_in_epoch(rows))
    merging = of_steps or fractions or with_steps or batches
    groups: list[list[MeasuredRow]] = []
    for _, group in groupby(rows, key=lambda row: (row["epoch"], row.get("attempt"))):
        same_epoch = list(group)
        groups += [same_epoch] if merging else _passes(same_epoch)
    several = _in_several_rows(groups)
    merged = [_merged(group, several, all_averaged=batches) for group in groups]
    if merging and len(merged) < len(rows):
        notes.append(
            f"{len(rows)} rows form {quantity(len(merged), 'epoch')}: values of "
            + ("batches" if batches else "train")
            + " are averaged over an epoch"
            + ("." if batches else ", and the last value of val counts.")
        )
    return merged


def _side_by_side(rows: list[MeasuredRow]) -> list[MeasuredRow]:
    """Sort rows by epoch where the epochs begin again for other metrics: all of train, then val."""
    blocks: list[set[str]] = [set()]
    last = -math.inf
    for row in rows:
        epoch = row["epoch"] or 0.0
        if epoch < last:
            blocks.append(set())
        last = epoch
        blocks[-1] |= {name for name, value in row.items() if value is not None} - _SHARED
    if sum(map(len, blocks)) > len(set().union(*blocks)):  # the same again: a restart
        return rows
    return sorted(rows, key=lambda row: row["epoch"] or 0.0)


def _passes(rows: list[MeasuredRow]) -> list[list[MeasuredRow]]:
    """Divide the rows of one epoch: where a metric is there again, it was trained again."""
    passes: list[list[MeasuredRow]] = []
    measured: set[str] = set()
    for row in rows:
        names = {name for name, value in row.items() if value is not None} - _SHARED
        if not passes or names & measured:
            passes.append([])
            measured = set()
        passes[-1].append(row)
        measured |= names
    return passes


def _has_batches(rows: list[MeasuredRow]) -> bool:
    """Return whether most epochs have several rows in sequence, which are then batches."""
    by_epoch = groupby(rows, key=lambda row: (row["epoch"], row.get("attempt")))
    groups = [list(group) for _, group in by_epoch]
    return 2 * sum(len(_passes(group)) > 1 for group in groups) > len(groups)


def _counts_in_epoch(rows: list[MeasuredRow]) -> bool:
    """Return whether the steps count the batches of an epoch, and start again in the next one."""
    first: dict[float | None, float] = {}
    for row in rows:
        if (step := row.get("step")) is not None:
            first[row["epoch"]] = min(first.get(row["epoch"], math.inf), step)
    return len(first) > 1 and len(set(first.values())) == 1


def _in_several_rows(groups: list[list[MeasuredRow]]) -> set[str]:
    """Return the columns that some epoch has in several rows, mostly blank."""
    counts = [Counter(name for row in group for name in row) for group in groups]
    return {name for count in counts for name, rows in count.items() if rows > 1}


def _merged(
    rows: list[MeasuredRow], several: set[str], *, all_averaged: bool = False
) -> MeasuredRow:
    """Average training metrics over the rows of an epoch; take the last value of everything else.

    Where all rows are batches, metrics of val are averaged too. A blank cell of a column that has
    cells in several rows counts only where its row should have a value.
    """
    merged: MeasuredRow = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        cells = [row[name] for row in rows if name in row]
        values = [cell for cell in cells if cell is not None]
        if values:
            averaged = name not in _SHARED if all_averaged else name.startswith("train_")
            merged[name] = sum(values) / len(values) if averaged else values[-1]
        elif name not in several or any(name in row and _is_blank(row, name) for row in rows):
            merged[name] = None
    return merged


def _is_blank(row: MeasuredRow, name: str) -> bool:
    """Return whether a row should have a value of a column.

    It should if it measures other metrics of val, or nothing at all. Rows of batches that measure
    some metrics of train may lack those that are logged at the end of the epoch.
    """
    measured = {other for other, value in row.items() if value is not None}
    with_val = name.startswith("val_") and any(other.startswith("val_") for other in measured)
    return with_val or measured <= {"epoch", "step", "attempt"}


def _spread(rows: list[MeasuredRow], notes: list[str]) -> list[MeasuredRow]:
    """Give rows without an epoch, such as those of a learning rate, an epoch.

    A validation follows the training that it measures: it belongs to the last epoch before it.
    Other rows belong to the next one.
    """
    latest = max(_values(rows, "epoch"), default=0.0)
    if _counts_epochs_as_steps(rows, latest):
        notes.append("In rows without an epoch, the step is read as the epoch.")
        rows = [
            {**row, "epoch": row.get("step"), "step": None} if row.get("epoch") is None else row
            for row in rows
        ]
    first_is_val = bool(rows) and rows[0].get("epoch") is None and _is_validation(rows[0])
    following: list[float | None] = []
    for row in reversed(rows):
        epoch = row.get("epoch")
        following.append(following[-1] if epoch is None and following else epoch)
    spread, last, given = [], None, 0
    for row, after in zip(rows, reversed(following), strict=True):
        epoch = row.get("epoch")
        if epoch is None:
            before_counts = _is_validation(row) and not first_is_val and last is not None
            epoch = last if before_counts or after is None else after
            given += _is_validation(row)
        else:
            last = epoch
        spread.append({**row, "epoch": epoch})
    if given:
        where = "after" if first_is_val else "before"
        notes.append(f"Rows of val without an epoch ({given}) belong to the epoch {where} them.")
    return spread


def _is_validation(row: MeasuredRow) -> bool:
    return any(
        value is not None and not name.startswith("train_") and name not in _SHARED
        for name, value in row.items()
    )


def _counts_epochs_as_steps(rows: list[MeasuredRow], latest: float) -> bool:
    """Return whether validations without an epoch have its number as step, as OpenMMLab writes."""
    without = [row for row in rows if row.get("epoch") is None and _is_validation(row)]
    steps = _values(without, "step")
    trained = _values([row for row in rows if row.get("epoch") is not None], "step")
    return bool(steps) and bool(trained) and max(steps) <= latest < max(trained)


def _of_steps(rows: list[MeasuredRow], notes: list[str]) -> list[MeasuredRow]:
    """Count each validation, or each step if there is none, as an epoch."""
    without = sum(row.get("step") is None and len(row) > 0 for row in rows)
    if without:
        notes.append(f"Rows with neither an epoch nor a step are skipped ({without}).")
    numbered = [row for row in rows if row.get("step") is not None]
    rows = [row for row in numbered if row.keys() - _SHARED] or numbered
    rows = _on_one_scale(rows, notes)
    steps = sorted(set(_values(rows, "step")))
    ends = sorted(set(_values(filter(_is_validation, rows), "step"))) or steps
    first = int(ends[0])
    counted = ends == list(range(first, first + len(ends))) and first in (0, 1)
    later = [step for step in steps if step > ends[-1]]
    if counted and later == list(range(int(ends[-1]) + 1, int(ends[-1]) + 1 + len(later))):
        ends = ends + later
    elif (
        later
        and len(ends) > 1
        and 2 * (later[-1] - ends[-1]) * (len(ends) - 1) >= (ends[-1] - ends[0])
    ):  # the epoch whose validation has not run yet
        ends = [*ends, later[-1]]
    numbers = ends if counted else [float(number) for number in range(1, len(ends) + 1)]
    if not counted:
        what = "validation" if len(ends) < len(steps) or any(map(_is_validation, rows)) else "step"
        notes.append(f"No column numbers the epochs: each {what} counts as an epoch, from 1.")
    grouped: dict[float, list[MeasuredRow]] = {end: [] for end in ends}
    position = 0
    by_step = zip(_values(rows, "step"), rows, strict=True)
    for step, row in sorted(by_step, key=lambda item: item[0]):
        while position < len(ends) - 1 and step > ends[position]:
            position += 1
        grouped[ends[position]].append(row)
    several = _in_several_rows(list(grouped.values()))
    return [
        {**_merged(group, several), "epoch": float(number)}
        for number, group in zip(numbers, grouped.values(), strict=True)
    ]


def _on_one_scale(rows: list[MeasuredRow], notes: list[str]) -> list[MeasuredRow]:
    """Bring steps of batches to the scale of validations whose steps count epochs.

    Many scripts log the loss of train per batch and val per epoch, each with its own count.
    """
    ends = sorted(set(_values(filter(_is_validation, rows), "step")))
    steps = sorted(set(_values(filter(_is_training, rows), "step")))
    if len(ends) < 2 or not steps or ends[0] > 1:
        return rows
    counted = ends == [ends[0] + number for number in range(len(ends))]
    if not counted or len(steps) < 3 * len(ends) or steps[-1] < 3 * ends[-1]:
        return rows
    per_epoch = (steps[-1] + 1 - steps[0]) / len(ends)
    notes.append(
        f"The {len(ends)} steps of val count epochs: the {len(steps)} steps of train are spread "
        "evenly over these epochs."
    )
    scaled: list[MeasuredRow] = []
    for row, step in zip(rows, _values(rows, "step"), strict=True):
        trained = {name: row[name] for name in row if name.startswith("train_")}
        validated = {name: row[name] for name in row if name not in trained}
        epoch = ends[0] + float((step - steps[0]) // per_epoch)
        if _is_validation(validated):
            scaled += [validated, {**trained, "step": epoch}]
        else:
            scaled.append({**row, "step": epoch})
    return scaled


def _is_training(row: MeasuredRow) -> bool:
    return any(value is not None and name.startswith("train_") for name, value in row.items())


def _mark_blank_losses(rows: list[MeasuredRow]) -> None:
    """Put infinity for losses that are blank from some epoch to the end and in none before.

    pandas writes NaN as an empty cell. One last row counts only if other metrics of its split are
    in it: otherwise val has not been measured yet.
    """
    for name in {name for row in rows for name in row if "loss" in name}:
        cells = [row.get(name, math.nan) for row in rows]
        blanks = [cell is None for cell in cells]
        first = blanks.index(True) if True in blanks else 0
        before = [math.nan if cell is None else cell for cell in cells[:first]]
        if first == 0 or not all(blanks[first:]) or any(map(math.isnan, before)):
            continue
        part = name.partition("_")[0]
        last = rows[-1]
        others = any(
            other.startswith(f"{part}_") and value is not None for other, value in last.items()
        )
        if len(rows) - first > 1 or others:
            for row in rows[first:]:
                row[name] = math.inf
