"""Finds the runs, splits and evaluation sets that the rows of one table belong to."""

import re
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from tailproof.diagnosis.column_aliases import (
    NO_METRIC,
    PARTS,
    ColumnName,
    read_name,
    words_of,
)
from tailproof.diagnosis.readers.cells import is_missing, is_number
from tailproof.diagnosis.readers.table import Rows
from tailproof.runtime.errors import TailproofError

_WORDS_OF_RUNS = {"fold", "kfold", "cv", "split", "model", "seed", "run", "experiment", "trial",
                  "name", "arch", "architecture", "backbone", "version", "replicate", "repeat",
                  "repetition", "config", "method", "rank", "worker", "gpu", "dataset", "variant",
                  "job", "setting"}  # fmt: skip
_SETS_OF_TRAINER = re.compile(r"eval_(.+)_runtime")
_SETS_OF_LIGHTNING = re.compile(r"/dataloader_idx_(\d+)$")
_CHART_OF_WANDB = re.compile(r"(.+) - (.+)")
_YES_NO = ({"true", "false"}, {"1", "0"}, {"yes", "no"})
_SEPARATOR = re.compile(r"[/\\]")
_CONTEXT = re.compile(r"\{\s*['\"]?\w+['\"]?\s*:\s*['\"]?([\w/]+)['\"]?\s*\}")
"""How Aim writes the split of a metric: ``{'subset': 'val'}``."""
_MOST_RUNS = 1000


class Part(NamedTuple):
    """Rows of one run, or of one of its evaluation sets.

    Attributes:
        label: what distinguishes it from the others; empty if it is alone.
        rows: its rows, with the split in the names.
        notes: how it was found, in sentences.
        of_set: whether the label is that of an evaluation set of the same run.
    """

    label: str
    rows: Rows
    notes: tuple[str, ...] = ()
    of_set: bool = False


def separate_runs(origin: str, rows: Rows) -> list[Part]:
    """Return the runs in a table, each with its splits side by side.

    Raises:
        TailproofError: every run has only one row.
    """
    names = _names(rows)
    rows, notes = _with_splits_in_names(rows, names)
    names = _names(rows)
    keys = _run_columns(rows, names)
    if not keys:
        return [Part("", rows, notes)]
    labels = [key for key in keys if names[key].role == "other"]
    runs: dict[tuple, Rows] = {}
    for row in rows:
        runs.setdefault(tuple(_cell(row.get(key)) for key in keys), []).append(row)
    if all(len(run) == 1 for run in runs.values()):
        raise TailproofError(
            f"{origin} is not a history: it has one row for each {' and '.join(keys)}; expected a "
            "row per epoch: give the file that the training wrote"
        )
    note = f"{len(runs)} runs, distinguished by {' and '.join(keys)}."
    return [
        Part(
            " ".join(f"{key}={value}" for key, value in zip(keys, values, strict=True)),
            [{name: row[name] for name in row if name not in labels} for row in run],
            (note, *notes),
        )
        for values, run in runs.items()
    ]


def _names(rows: Rows) -> dict[str, ColumnName]:
    return {name: read_name(name) for name in dict.fromkeys(key for row in rows for key in row)}


def separate_evaluation_sets(part: Part) -> Iterator[Part]:
    """Yield a run once for each of the sets that it was validated on, with this set's metrics."""
    names = list(dict.fromkeys(name for row in part.rows for name in row))
    sets = {m[1] for name in names if (m := _SETS_OF_TRAINER.fullmatch(name))}
    loaders = {m[1] for name in names if (m := _SETS_OF_LIGHTNING.search(name))}
    if not sets and not loaders:
        yield part
        return
    renamed = _names_of_sets(names, sorted(sets, key=len, reverse=True), sorted(loaders))
    labels = dict.fromkeys(label for label, _ in renamed.values() if label)
    for label in labels:
        rows = [
            {
                renamed[name][1]: value
                for name, value in row.items()
                if renamed[name][0] in ("", label)
            }
            for row in part.rows
        ]
        rows = [row for row in rows if row]
        if len(labels) == 1:
            yield part._replace(rows=rows)
            continue
        note = f"Validated on {len(labels)} sets: {', '.join(labels)}."
        full = " ".join(text for text in (part.label, f"set={label}") if text)
        yield Part(full, rows, (*part.notes, note), of_set=True)


def _names_of_sets(
    names: list[str], sets: list[str], loaders: list[str]
) -> dict[str, tuple[str, str]]:
    """Return the evaluation set and the plain name of each column."""
    renamed: dict[str, tuple[str, str]] = {}
    plain = any(name in ("eval_loss", "eval_runtime") for name in names)
    for name in names:
        match = _SETS_OF_LIGHTNING.search(name)
        owner = next((s for s in sets if name.startswith(f"eval_{s}_")), None)
        if match:
            renamed[name] = (match[1], name[: match.start()])
        elif owner:
            renamed[name] = (owner, f"eval_{name.removeprefix(f'eval_{owner}_')}")
        elif sets and plain and name.startswith("eval_"):
            renamed[name] = ("eval", name)
        else:
            renamed[name] = ("", name)
    return renamed


def runs_of_chart(rows: Rows) -> dict[str, Rows] | None:
    """Return the rows of each run in a chart that Weights & Biases exported; None for others.

    Its columns are the step, and for each run its value, and mostly the lowest and the highest.
    """
    names = list(rows[0])
    of_runs = {name: match for name in names if (match := _CHART_OF_WANDB.fullmatch(name))}
    if len(of_runs) < 2 or not _is_chart(of_runs):
        return None
    counters = [name for name in names if name not in of_runs]
    runs: dict[str, Rows] = {}
    for name, match in of_runs.items():
        if name.endswith(("__MIN", "__MAX")) or match[2] == "_step":
            continue
        runs.setdefault(match[1], []).extend(
            {**{counter: row.get(counter) for counter in counters}, match[2]: row[name]}
            for row in rows
            if not is_missing(row.get(name))
        )
    return runs


def _is_chart(of_runs: dict[str, re.Match[str]]) -> bool:
    """Return whether columns named ``RUN - METRIC`` have extremes, or all name a metric so."""
    metrics = [read_name(match[2]) for match in of_runs.values()]
    extremes = any(name.endswith(("__MIN", "__MAX")) for name in of_runs)
    one = len({match[2] for match in of_runs.values()}) == 1
    return extremes or all(said.role == "metric" and (one or said.part) for said in metrics)


def _with_splits_in_names(rows: Rows, names: dict[str, ColumnName]) -> tuple[Rows, tuple[str, ...]]:
    """Put the split of each row, which a column names, into the names of its metrics."""
    rows = _with_words_for_flags(rows, names)
    column = next((name for name in names if _names_splits(rows, name)), None)
    if column is None:
        return rows, ()
    bare = {name for name, said in names.items() if said.role == "metric" and not said.part}
    renamed = []
    for row in rows:
        *run, cell = _SEPARATOR.split(_word_for_split(row.get(column) or ""))
        split, level = _split_and_level(cell)
        place = [split, level] if level else [split]
        new = {
            ("/".join([*place, name]) if name in bare and split else name): value
            for name, value in row.items()
            if name != column
        }
        renamed.append({column: "/".join(run), **new} if run else new)
    return renamed, (f"The column {column} gives the split of each row.",)


def _with_words_for_flags(rows: Rows, names: dict[str, ColumnName]) -> Rows:
    """Put words for splits into a column such as ``is_train``, which says yes or no."""
    for name in names:
        words = words_of(name)
        word = words[-1] if words[:-1] in ([], ["is"]) and words else ""
        cells = {_cell(row.get(name)).lower() for row in rows}
        answers = _YES_NO if len(words) > 1 else _YES_NO[:1]
        if PARTS.get(word) in ("train", "val") and cells in answers:
            other = "val" if PARTS[word] == "train" else "train"
            yes = max(cells)
            return [
                {**row, name: word if _cell(row[name]).lower() == yes else other} for row in rows
            ]
    return rows


def _names_splits(rows: Rows, name: str) -> bool:
    """Return whether cells are words for splits, possibly after a run: ``fox/train``."""
    cells = {_word_for_split(row[name]) for row in rows if not is_missing(row.get(name))}
    return bool(cells) and all(_split_and_level(_SEPARATOR.split(cell)[-1])[0] for cell in cells)


def _word_for_split(value: Any) -> str:
    """Return a cell in lower case; of a mapping of one value, this value."""
    cell = str(value).strip().lower()
    match = _CONTEXT.fullmatch(cell)
    return match[1] if match else cell


def _split_and_level(cell: str) -> tuple[str, str]:
    """Return the split that a cell names, and whether it is of epochs: ``train_epoch``."""
    split, _, level = cell.partition("_")
    known = split in PARTS and level in ("", "epoch", "iter", "step", "batch")
    return (split, level) if known else ("", "")


def _run_columns(rows: Rows, names: dict[str, ColumnName]) -> list[str]:
    """Return the columns whose values distinguish runs, if their epochs overlap."""
    counter = next(
        (name for role in ("epoch", "step") for name, said in names.items() if said.role == role),
        None,
    )
    others = [
        name
        for name, said in names.items()
        if said.role in ("other", "learning_rate") and said.reason != NO_METRIC
    ]
    varying = [name for name in others if 1 < len(_values(rows, name)) <= _MOST_RUNS]
    known = [name for name in varying if set(words_of(name)) & _WORDS_OF_RUNS]
    if counter is None or not varying:
        return known
    keys = [name for name in known if _overlap(rows, [name], counter)]
    if _is_unique(rows, keys, counter, names):
        return keys
    for name in varying:
        text = names[name].role == "other" and any(
            not is_number(row[name]) for row in rows if not is_missing(row.get(name))
        )
        separates = (
            text or _is_in_blocks(rows, name, counter) or _is_crossed(rows, name, counter, names)
        )
        new = name not in keys and separates
        if (
            new
            and _overlap(rows, [name], counter)
            and _is_unique(rows, [*keys, name], counter, names)
        ):
            return [*keys, name]
    return keys


def _values(rows: Rows, name: str) -> set[Hashable]:
    return {_cell(row[name]) for row in rows if not is_missing(row.get(name))}


def _cell(value: Any) -> str:
    return str(value).strip()


def _overlap(rows: Rows, keys: list[str], counter: str) -> bool:
    """Return whether the groups count their epochs over each other."""
    groups: dict[tuple, set[str]] = {}
    for row in rows:
        groups.setdefault(tuple(_cell(row.get(key)) for key in keys), set()).add(
            _cell(row.get(counter))
        )
    return sum(map(len, groups.values())) > len(set.union(*groups.values()))


def _is_unique(rows: Rows, keys: list[str], counter: str, names: dict[str, ColumnName]) -> bool:
    """Return whether no metric has two values in one epoch of a run."""
    metrics = [name for name, said in names.items() if said.role == "metric"]
    places = [
        (*(_cell(row.get(key)) for key in (*keys, counter)), name)
        for row in rows
        for name in metrics
        if not is_missing(row.get(name))
    ]
    return len(places) == len(set(places))


def _is_crossed(rows: Rows, name: str, counter: str, names: dict[str, ColumnName]) -> bool:
    """Return whether each value has the same epochs, and a metric of val, which batches lack."""
    of_val = [key for key, said in names.items() if said.role == "metric" and said.part == "val"]
    measured = all(any(not is_missing(row.get(key)) for key in of_val) for row in rows)
    epochs: dict[str, set[str]] = {}
    for row in rows:
        epochs.setdefault(_cell(row.get(name)), set()).add(_cell(row.get(counter)))
    first, *others = epochs.values()
    return measured and len(first) > 1 and all(each == first for each in others)


def _is_in_blocks(rows: Rows, name: str, counter: str) -> bool:
    """Return whether each value has one block of rows, all with the same first epoch."""
    blocks: list[tuple[str, str]] = []
    for row in rows:
        value = _cell(row.get(name))
        if not blocks or blocks[-1][0] != value:
            blocks.append((value, _cell(row.get(counter))))
    values = [value for value, _ in blocks]
    return len(values) == len(set(values)) and len({first for _, first in blocks}) == 1
