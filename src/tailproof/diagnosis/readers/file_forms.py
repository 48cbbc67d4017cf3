"""Reads single files into tables, and finds the files of histories in a folder."""

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tailproof.diagnosis.column_aliases import NO_METRIC, PARTS, Part, read_name, words_of
from tailproof.diagnosis.readers.delimited import read_delimited
from tailproof.diagnosis.readers.event_file import is_event_file, read_event_file
from tailproof.diagnosis.readers.json_rows import read_json_of_epoch, read_json_tables
from tailproof.diagnosis.readers.table import PassedOver, Rows, Table, merge_rows
from tailproof.diagnosis.readers.text_log import read_text_log
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity
from tailproof.untrusted_files import other_kind, read_bytes

_LOGGED = re.compile(r" INFO (epoch \d+(?: \S+ \S+)+)$", re.MULTILINE)
_BRACKETS = re.compile(r"\s*\[[^\]\n]*\][ \t]*[^\s,\]]")
"""How a log begins whose lines begin with a number or a time in brackets."""
_DICTIONARY = re.compile(r"\s*\{\s*'")
"""How what Python prints begins: a dictionary, or a log of them."""
_PAGE = re.compile(r"<(!doctype|html|table|\?xml)\b", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has."""
_HALVES = {"utf-16-le": slice(1, None, 2), "utf-16-be": slice(0, None, 2)}
"""Every second byte of a text in UTF-16, which is zero for Latin letters."""
_EXPORTED = re.compile(r"run-(?P<run>.+?)[-_]tag-(?P<tag>.+)")
_OF_SPLIT = re.compile(r"(?P<run>|.*[\W_])(?P<part>[A-Za-z]+)")
_MLFLOW = re.compile(r"(?:\d{9,16} \S+ \d+\s*\n?)+")
_SERIES_FOLDERS = {"metrics", "plots", "scalars"}
_LEVEL_FOLDERS = {"epoch", "step"}
_TAGS = ("tag", "name", "metric", "metric name", "key", "variable", "measure")
_SPLITS_OF_LONG = ("data", "split", "phase", "set", "subset")

_NAMES = {"history.csv", "metrics.csv", "results.csv", "summary.csv", "progress.csv", "log.txt",
          "training.log", "trainer_state.json", "scalars.json", "metrics.json", "metrics.jsonl",
          "history.json", "log_history.json", "wandb-history.jsonl", "log.csv", "log_rank0.txt",
          "results.txt"}  # fmt: skip
_SUFFIXES = {".csv", ".tsv", ".json", ".jsonl", ".txt", ".log"}
_MOST_FILES, _DEEPEST = 20_000, 8


def read_tables(path: Path) -> list[Table]:
    """Return the tables of a file with its own names and unchanged values.

    Raises:
        TailproofError: the file is missing, empty, or of no known form.
    """
    if is_event_file(path):
        return [read_event_file(path)]
    text, notes = _text(path)
    if not text.strip():
        raise TailproofError(
            f"{path} is empty, expected a row per epoch: wait until the first epoch has ended"
        )
    if logged := _LOGGED.findall(text):
        return [Table([_of_line(line) for line in logged], "log of a training job")]
    if path.suffix == "" and _MLFLOW.fullmatch(text[:10_000].rpartition("\n")[0] + "\n"):
        return [_mlflow(path, text)]
    if _PAGE.match(text.lstrip()):
        raise TailproofError(
            f"{path} is a web page or XML: save the history as CSV with a header such as "
            "epoch,train_loss,val_loss"
        )
    is_json = text.lstrip()[0] in "{[" and not _BRACKETS.match(text)
    log = read_text_log(path, text) if not is_json or _DICTIONARY.match(text) else None
    if log:
        return [replace(log, notes=(*log.notes, *notes))]
    tables = read_json_tables(path, text) if is_json else [read_delimited(path, text)]
    if not any(table.rows for table in tables):
        raise TailproofError(f"{path} has no rows: wait until the first epoch has ended")
    return [
        replace(
            table,
            rows=_with_metric_of_file(path, _wide(path, table.rows)),
            notes=(*table.notes, *notes),
        )
        for table in tables
    ]


def _with_metric_of_file(path: Path, rows: Rows) -> Rows:
    """Give columns that name only a split the metric that the file is named by: loss.csv."""
    said = read_name(path.stem)
    names = {name for row in rows for name in row if str(name).strip().lower() in PARTS}
    if not names or not said.known or said.part:
        return rows
    return [
        {(f"{name}/{said.metric}" if name in names else name): row[name] for name in row}
        for row in rows
    ]


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the text of a file, and a sentence on its encoding if that had to be guessed."""
    content = read_bytes(path)
    if kind := other_kind(content):
        raise TailproofError(f"{path} is {kind}")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = next((name for name, part in _HALVES.items() if _is_zero(content[part])), "")
    try:
        text = content.decode(encoding or "utf-8-sig")
    except UnicodeDecodeError as error:
        if encoding or _CONTROL.search(content):
            raise TailproofError(
                f"{path} is not text (byte {error.start}), expected a table, JSON, or a "
                "TensorBoard event file with its original name: save the history as CSV"
            ) from None
        encoding = "cp1252"
        text = content.decode(encoding, errors="replace")
    guessed = encoding not in ("", "utf-16")
    return text, (f"The file is not UTF-8: it is read as {encoding}.",) if guessed else ()


def _is_zero(half: bytes) -> bool:
    """Return whether half of the bytes of a text are nearly all zero, as in UTF-16."""
    return len(half) > 1 and half.count(0) > 0.9 * len(half)


def _of_line(line: str) -> dict[str, str]:
    """Read an epoch from the log of a training job: alternating names and values."""
    words = line.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _mlflow(path: Path, text: str) -> Table:
    rows: Rows = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            rows.append({"step": words[2], series_name(path): words[1]})
    return Table(rows, "MLflow metrics")


def _wide(path: Path, rows: Rows) -> Rows:
    """Turn long rows (tag, step, value) into rows with one named value."""
    keys = {" ".join(words_of(str(key))): key for key in rows[0]}
    counter = next((keys[key] for key in ("epoch", "step") if key in keys), None)
    values = next((keys[key] for key in ("value", "metric value") if key in keys), None)
    if values is None or (counter is None and len(keys) > 1):
        return rows
    tag = next((keys[key] for key in _TAGS if key in keys), None)
    if tag is None and len(keys) > 4:
        return rows
    split = next((keys[key] for key in _SPLITS_OF_LONG if key in keys and tag), None)
    used = (tag, split, counter, values)
    extra = [key for key in rows[0] if key not in used and read_name(str(key)).reason != NO_METRIC]
    name = "" if tag else series_name(path)
    wide = []
    for row in rows:
        words = [str(row.get(key)) for key in (split, tag) if key] or [name]
        kept = {key: row.get(key) for key in (counter, *extra) if key is not None}
        wide.append({**kept, "/".join(words): row.get(values)})
    return merge_rows(wide, lambda key: key == counter or key in extra)


def series_name(path: Path) -> str:
    """Return the name of the one metric of a file: ``train/loss`` of …/train/loss.tsv."""
    if match := _EXPORTED.fullmatch(path.stem):
        part, _ = _split_of_run(match)
        bare = part and not read_name(match["tag"]).part
        return f"{part}/{match['tag']}" if bare else match["tag"]
    name = path.name.removesuffix(path.suffix) if path.suffix in _SUFFIXES else path.name
    parts = [part for part in path.parts[-4:-1] if part.lower() in PARTS]
    level = [path.parent.name] if _is_level_of_split(path.parent) else []
    return "/".join([*parts, *level, name])


def _split_of_run(exported: re.Match[str]) -> tuple[str, str]:
    """Return the split that the name of an exported run ends in, and the name without it."""
    match = _OF_SPLIT.fullmatch(exported["run"])
    if match and PARTS.get(match["part"].lower()):
        part = PARTS[match["part"].lower()]
        if read_name(exported["tag"]).part in ("", part):
            return match["part"], match["run"]
    return "", exported["run"]


def _is_level_of_split(folder: Path) -> bool:
    """Return whether a folder is the ``epoch`` of ``train/epoch/loss.tsv``."""
    return folder.name in _LEVEL_FOLDERS and folder.parent.name.lower() in PARTS


def is_single_series(path: Path, table: Table) -> bool:
    """Return whether the file has one metric, named in its path, of one split or of several."""
    if not table.rows:
        return False
    roles = {str(name): read_name(str(name)) for row in table.rows[:50] for name in row}
    metrics = [name for name, said in roles.items() if said.role in ("metric", "learning_rate")]
    named = read_name(series_name(path))
    if len(metrics) > 1:
        return named.known and not named.part and all(
            (roles[name].metric, roles[name].known) == (named.metric, True) for name in metrics
        )  # fmt: skip
    if not metrics:
        return bool(_EXPORTED.fullmatch(path.stem))
    metric = roles[metrics[0]]
    return metrics[0] == series_name(path) or (named.role, named.metric) == (
        metric.role, metric.metric
    )  # fmt: skip


def home_of_series(path: Path) -> Path:
    """Return the folder of the run that a file with one metric belongs to."""
    if match := _EXPORTED.fullmatch(path.stem):
        return path.parent / f"run-{_split_of_run(match)[1]}"
    folder = path.parent.parent if _is_level_of_split(path.parent) else path.parent
    while folder.name.lower() in PARTS or folder.name in _SERIES_FOLDERS:
        folder = folder.parent
    return folder


def split_of_place(path: Path) -> tuple[Part, Path]:
    """Return the split that the path of a folder or file names, and the path without that word."""
    if path.parent.name.lower() in PARTS and path.parent.name:
        return PARTS[path.parent.name.lower()], path.parent.parent / path.name
    suffix = "" if path.suffix[1:].lower() in PARTS else path.suffix  # Caffe's log.train
    words = re.split(r"([\W_]+)", path.name.removesuffix(suffix))
    named = [word for word in words if word.lower() in PARTS]
    if len(named) != 1:
        return "", path
    rest = "".join(word for word in words if word not in named).strip("._- ")
    return PARTS[named[0].lower()], path.with_name(f"{rest}{suffix}") if rest else path.parent


def read_files_of_epochs(paths: list[Path]) -> list[tuple[list[Path], Table]]:
    """Return the runs that have a file for each epoch, such as ``metrics_epoch_3.json``."""
    groups: dict[Path, list[Path]] = {}
    for path in paths:
        if path.suffix == ".json" and re.search(r"\d", path.stem):
            groups.setdefault(path.with_name(re.sub(r"\d+", "#", path.name)), []).append(path)
    runs = []
    for group in groups.values():
        rows = [row for path in group if (row := read_json_of_epoch(path)) is not None]
        if len({row["epoch"] for row in rows}) == len(group) > 1:
            rows.sort(key=lambda row: row["epoch"])
            runs.append((group, Table(rows, "JSON files of single epochs")))
    return runs


def files_in(folder: Path) -> tuple[list[Path], PassedOver | None]:
    """Return the files of histories in a folder and below, and the files that are passed over.

    Files with the names that trainers use are preferred; without any, all tables and JSON files of
    the folder itself are returned.

    Raises:
        TailproofError: there are none.
    """
    files = list(_walk(folder, 0))
    usual = [path for path in files if _is_usual(path)]
    found = _without_copies(usual) or [
        path for path in files if path.parent == folder and path.suffix.lower() in _SUFFIXES
    ]
    if not found:
        raise TailproofError(
            f"{folder} contains no history among its {quantity(len(files), 'file')}: expected one "
            "such as history.csv, metrics.csv, results.csv, trainer_state.json or an event file"
        )
    others = [path for path in files if path not in set(found)]
    examples = tuple(str(path.relative_to(folder)) for path in others[:3])
    return found, PassedOver("other files", len(others), examples) if others else None


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)[:_MOST_FILES]
    except OSError as error:
        if depth:
            return
        raise unreadable(folder, error) from None
    for entry in ordered:
        if entry.is_file():
            yield Path(entry.path)
        elif entry.is_dir(follow_symlinks=False) and depth < _DEEPEST and entry.name[0] != ".":
            yield from _walk(Path(entry.path), depth + 1)


def _is_usual(path: Path) -> bool:
    if path.name in _NAMES or is_event_file(path) or path.name.endswith(".log.json"):
        return True
    folders = {part.lower() for part in path.parts[-5:-1]}
    if path.suffix == ".tsv":
        return bool(folders & (_SERIES_FOLDERS | set(PARTS)))
    return path.suffix == "" and "metrics" in folders


def _without_copies(paths: list[Path]) -> list[Path]:
    """Leave out event files next to a table of the same run, and older states of a trainer."""
    tables = {path.parent for path in paths if path.name in _NAMES}
    kept = [
        path
        for path in paths
        if not (is_event_file(path) and any(parent in tables for parent in path.parents))
    ]
    states: dict[Path, list[Path]] = {}
    for path in kept:
        if path.name == "trainer_state.json":
            number = re.fullmatch(r"checkpoint-(\d+)", path.parent.name)
            states.setdefault(path.parent.parent if number else path.parent, []).append(path)
    older = set()
    for run, files in states.items():
        newest = max(files, key=lambda path: (path.parent == run, _number(path.parent.name)))
        older |= set(files) - {newest}
    return [path for path in kept if path not in older]


def _number(name: str) -> int:
    digits = re.findall(r"\d{1,18}", name)
    return int(digits[-1]) if digits else 0
