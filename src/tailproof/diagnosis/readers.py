"""Reads histories of other tools: CSV, JSON, JSON lines, Lightning, TensorBoard, and our logs."""

import csv
import io
import json
import math
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from tailproof.diagnosis.column_aliases import RATES, canonical, is_metric
from tailproof.diagnosis.history import RunHistory, mark_infinite_losses
from tailproof.history import Row
from tailproof.runtime.errors import TailproofError

_MISSING = {"", "none", "null", "na", "n/a", "-"}
_LISTS = ("history", "log_history", "epochs", "rows")
_SCALARS = ("step", "value")
_LOGGED = re.compile(r" INFO (epoch \d+(?: \S+ \S+)+)$", re.MULTILINE)
_EXPORTED = re.compile(r"run-(?P<run>.+)-tag-(?P<tag>.+)")


def read_history(path: str | Path) -> RunHistory:
    """Read one file.

    Raises:
        TailproofError: the file is missing, empty, not a table, or has no known metric.
    """
    path = Path(path)
    return _history(path.stem, str(path), _rows(path))


def read_histories(paths: list[Path]) -> list[tuple[Path, RunHistory]]:
    """Read several files; the TensorBoard files of a run, one per tag, become one history.

    Each history gets the shortest name that distinguishes it, and is returned with its first file.
    """
    scalars: dict[str, list[tuple[Path, str]]] = {}
    for path in paths:
        match = _EXPORTED.fullmatch(path.stem)
        run = str(path.parent / match["run"]) if match else str(path)
        scalars.setdefault(run, []).append((path, match["tag"] if match else ""))
    names = _short(list(scalars))
    histories = []
    for run, files in scalars.items():
        rows = [row for path, tag in files for row in _rows(path, tag)]
        origin = " and ".join(str(path) for path, _ in files)
        histories.append((files[0][0], _history(names[run], origin, rows)))
    return histories


def _short(runs: list[str]) -> dict[str, str]:
    """Name each run by the parts of its path that differ."""
    parts = [Path(run).with_suffix("").parts for run in runs]
    if len(runs) == 1:
        return {runs[0]: parts[0][-1]}
    longest = max(map(len, parts))
    padded = [("",) * (longest - len(path)) + path for path in parts]
    differs = [len({path[i] for path in padded}) > 1 for i in range(longest)]
    return {
        run: "/".join(part for part, kept in zip(path, differs, strict=True) if kept and part)
        or path[-1]
        for run, path in zip(runs, padded, strict=True)
    }


def _rows(path: Path, tag: str = "") -> list[dict[str, Any]]:
    """Return the rows of a file with its own names and unchanged values."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise TailproofError(
            f"{path} is a folder: give the file in it, such as history.csv"
        ) from None
    except OSError as error:
        raise TailproofError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TailproofError(f"{path} is not UTF-8 text: expected a CSV or JSON file") from None
    if not text.strip():
        raise TailproofError(f"{path} is empty: expected a row per epoch")
    if logged := _LOGGED.findall(text):
        return [_of_line(line) for line in logged]
    rows = _json(path, text) if text.lstrip()[0] in "{[" else _table(path, text)
    if not rows:
        raise TailproofError(f"{path} has a header but no rows: nothing was measured yet")
    return _wide(rows, tag)


def _of_line(line: str) -> dict[str, Any]:
    """Read an epoch from the log of a training job: alternating names and values."""
    words = line.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _json(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return _json_lines(path, text)
    if isinstance(value, dict):
        lists = [value[key] for key in _LISTS if isinstance(value.get(key), list)]
        if not lists and is_metric(canonical(next(iter(value), ""))[0]) | ("epoch" in value):
            lists = [_columns(path, value)]
        if not lists:
            raise TailproofError(
                f"{path} is JSON without a list of epochs: expected one, or one under "
                f"{' or '.join(map(repr, _LISTS[:2]))}"
            )
        value = lists[0]
    for number, row in enumerate(value, start=1):
        if not isinstance(row, dict):
            raise TailproofError(
                f"{path}, entry {number}: expected a mapping of names to numbers, found "
                f"{type(row).__name__}"
            )
    return value


def _columns(path: Path, value: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn one row, or a mapping of names to lists of one length, into rows."""
    lists = {key: column for key, column in value.items() if isinstance(column, list)}
    if not lists:
        return [value]
    if len({len(column) for column in lists.values()}) > 1:
        raise TailproofError(
            f"{path}: its lists have different lengths, expected one value per epoch"
        )
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _json_lines(path: Path, text: str) -> list[dict[str, Any]]:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    rows = []
    for number, line in lines:
        try:
            rows.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            if number == lines[-1][0] and rows:
                break  # an unfinished run is writing it
            raise TailproofError(f"{path}, line {number} is not JSON: {error}") from None
        if not isinstance(rows[-1], dict):
            raise TailproofError(f"{path}, line {number}: expected a mapping of names to numbers")
    return rows


def _table(path: Path, text: str) -> list[dict[str, Any]]:
    head = text.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text.lstrip()), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise TailproofError(f"{path} is not a CSV table: {error}") from None
    names, *rest = (row for row in rows if row)
    if len(names) < 2:
        raise TailproofError(f"{path} is not a CSV table: its first line has one column, {head!r}")
    table = []
    for number, row in enumerate(rest, start=2):
        if len(row) != len(names):
            if number == len(rest) + 1 and len(row) < len(names) and table:
                break  # an unfinished run is writing it
            raise TailproofError(
                f"{path}, row {number} has {len(row)} values, its header {len(names)}"
            )
        table.append(dict(zip(names, row, strict=True)))
    return table


def _wide(rows: list[dict[str, Any]], tag: str) -> list[dict[str, Any]]:
    """Turn TensorBoard's long rows (tag, step, value) into rows with one named value."""
    keys = {str(key).strip().lower().replace("_", " "): key for key in rows[0]}
    if not {*_SCALARS} <= set(keys) or len(keys) > 5:
        return rows
    tag_key = keys.get("tag", keys.get("name", keys.get("metric")))
    if tag_key is None and not tag:
        return rows
    return [
        {
            "step": row.get(keys["step"]),
            str(row[tag_key]) if tag_key else tag: row.get(keys["value"]),
        }
        for row in rows
    ]


def _history(name: str, origin: str, raw: list[dict[str, Any]]) -> RunHistory:
    names, ranks = _names(raw)
    rows = [_numbers(origin, number, row, names) for number, row in enumerate(raw, start=1)]
    if not any(is_metric(key) for row in rows for key in row):
        raise TailproofError(
            f"{origin} is not a history: none of its columns ({', '.join(map(str, names))[:200]}) "
            "is a metric; expected some of train_loss, val_loss, train_accuracy, val_accuracy, …"
        )
    _shares(rows)
    merged = _epochs(origin, rows, ranks)
    kept = [row for row in merged if any(is_metric(key) for key in row)]
    if not kept:
        raise TailproofError(f"{origin} is not a history: no row has both an epoch and a metric")
    return RunHistory.of(name, kept)


def _names(raw: list[dict[str, Any]]) -> tuple[dict[str, str], bool]:
    """Return the canonical names of a file's columns, and whether any is per step."""
    columns = dict.fromkeys(key for row in raw for key in row if key is not None)
    ranked: dict[str, tuple[int, str]] = {}
    for key in columns:
        name, rank = canonical(str(key))
        if name not in ranked or rank < ranked[name][0]:
            ranked[name] = (rank, key)
    return {key: name for name, (_, key) in ranked.items()}, any(r == 2 for r, _ in ranked.values())


def _numbers(origin: str, number: int, row: dict[str, Any], names: dict[str, str]) -> Row:
    numbers: Row = {}
    for key, name in names.items():
        value = row.get(key)
        if value is None or (isinstance(value, str) and value.strip().lower() in _MISSING):
            continue
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            if is_metric(name) or name == "epoch":
                raise TailproofError(
                    f"{origin}, row {number}: {key} is {value!r}, expected a number"
                ) from None
            continue
    return mark_infinite_losses(numbers)


def _shares(rows: list[Row]) -> None:
    """Convert percentages to shares."""
    rated = {key for row in rows for key in row if is_metric(key) and RATES.search(key)}
    largest = max((row[key] for row in rows for key in rated if key in row), default=0)
    if 1.5 < largest <= 100:
        for row in rows:
            row.update({key: row[key] / 100 for key in rated if key in row})


def _epochs(origin: str, rows: list[Row], of_steps: bool) -> list[Row]:
    """Give each row its epoch, and merge the rows of an epoch."""
    if not any("epoch" in row for row in rows):
        return _of_steps(rows) if any("step" in row for row in rows) else _numbered(rows)
    if any("step" in row for row in rows):
        rows = _spread(rows)
    rows = [row for row in rows if "epoch" in row]
    for number, row in enumerate(rows, start=1):
        if not math.isfinite(row["epoch"]) or row["epoch"] < 0:
            raise TailproofError(f"{origin}, row {number}: the epoch is {row['epoch']:g}")
    fractions = any(row["epoch"] % 1 for row in rows)
    for row in rows:
        row["epoch"] = math.ceil(row["epoch"])
    merging = of_steps or fractions or any("step" in row for row in rows)
    epochs: list[Row] = []
    for _, group in groupby(rows, key=lambda row: (row["epoch"], row.get("attempt"))):
        same_epoch = list(group)
        shared = {"epoch", "attempt", "step", "learning_rate", "samples"}
        if merging or not any(
            set(a) & set(b) - shared for i, a in enumerate(same_epoch) for b in same_epoch[:i]
        ):
            epochs.append(_merged(same_epoch))
        else:
            epochs += same_epoch
    return epochs


def _merged(rows: list[Row]) -> Row:
    """Average training metrics over steps; take the last value of everything else."""
    merged = {key: value for row in rows for key, value in row.items()}
    for key in merged:
        values = [row[key] for row in rows if key in row]
        if key.startswith("train_") and len(values) > 1:
            merged[key] = sum(values) / len(values)
    return merged


def _spread(rows: list[Row]) -> list[Row]:
    """Give rows without an epoch, such as those of a learning rate, the epoch of the next row."""
    following = next((row["epoch"] for row in reversed(rows) if "epoch" in row), None)
    spread = []
    for row in reversed(rows):
        following = row.get("epoch", following)
        spread.append({**row, "epoch": following})
    return spread[::-1]


def _numbered(rows: list[Row]) -> list[Row]:
    return [{**row, "epoch": float(number)} for number, row in enumerate(rows, start=1)]


def _of_steps(rows: list[Row]) -> list[Row]:
    """Count each validation, or each step if there is none, as an epoch."""
    steps = sorted({row["step"] for row in rows if "step" in row})
    ends = sorted(
        {row["step"] for row in rows if "step" in row and any(k.startswith("val_") for k in row)}
    )
    ends = ends or steps
    numbers = ends if ends == list(range(int(ends[0]), int(ends[0]) + len(ends))) else None
    if numbers is None or numbers[0] > 1:
        numbers = list(range(1, len(ends) + 1))
    grouped: dict[float, list[Row]] = {end: [] for end in ends}
    position = 0
    for row in sorted((row for row in rows if "step" in row), key=lambda row: row["step"]):
        while position < len(ends) - 1 and row["step"] > ends[position]:
            position += 1
        grouped[ends[position]].append(row)
    return [
        {**_merged(group), "epoch": float(number)}
        for number, group in zip(numbers, grouped.values(), strict=True)
    ]
