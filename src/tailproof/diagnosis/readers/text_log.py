"""Reads what training programs print: one entry of `FORMS` for each kind of log.

A form returns rows with the names that the same program writes to its CSV or JSON file, so that all
else about them is known already. A log that cannot be read right is refused.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailproof.diagnosis.column_aliases import read_name, with_plain_sets
from tailproof.diagnosis.readers.json_rows import read_python_value
from tailproof.diagnosis.readers.log_lines import (
    FEWEST_EPOCHS,
    NUMBER,
    OF_LAST_LINES,
    Lines,
    log_table,
)
from tailproof.diagnosis.readers.prose_log import read_prose, refuse_progress_bars
from tailproof.diagnosis.readers.table import Rows, Table
from tailproof.runtime.errors import TailproofError

_LONGEST = 5_000
"""Characters of a line; longer lines are no lines of a log."""
_LINE_END = re.compile(r"[\r\n\x08]+")
"""Ends a line, or goes back to its start: what follows replaces it on a terminal."""
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def read_text_log(path: Path, text: str) -> Table | None:
    """Return the table of a log of a known kind; None if the text is none.

    Raises:
        TailproofError: it is a log whose numbers are not those of epochs.
    """
    parts = _LINE_END.split(_COLOUR.sub(" ", text))
    lines = [line.strip() for line in parts if len(line) <= _LONGEST and line.strip()]
    tables = (read(path, lines) for read in FORMS)
    return next((table for table in tables if table is not None), None)


# Swin, ConvNeXt, DeiT, MAE, torchvision, timm, and PyTorch's examples: batches with averages.

_TRAIN_BATCH = {
    "Swin": re.compile(r"Train: \[(\d{1,7})(?:/\d+)?\]\[\s*(\d+)/(\d+)\]"),
    "DeiT": re.compile(r"Epoch: \[(\d{1,7})\]\s*\[\s*(\d+)/(\d+)\]"),
    "timm": re.compile(r"Train: (\d{1,7}) \[\s*(\d+)/(\d+) \(\s*\d+%\)\]"),
    "MNIST": re.compile(r"Train Epoch: (\d{1,7}) \[\s*(\d+)/(\d+) \(\s*\d+%\)\]"),
}
_TEST_BATCH = re.compile(r"\bTest:\s+\[\s*(\d+)/(\d+)\]")
_OF_AVERAGED_WEIGHTS = re.compile(r"\bTest:? \(?EMA\)?")
_SUMMARY = re.compile(
    rf"(\*|\bTest:|\b(?:val|test) Results:)\s+(?:Acc|Prec)@1:?\s+({NUMBER})"
    rf"(?:,?\s+(?:Acc|Prec)@5:?\s+({NUMBER}))?(?:\s+loss:?\s+({NUMBER}))?",
    re.IGNORECASE,
)
_SUMMARY_OF_MNIST = re.compile(
    rf"(?:Test|Val\w*)(?: set)?: Average loss: ({NUMBER}), Accuracy: (\d{{1,12}})/(\d{{1,12}})"
)
_AVERAGE = re.compile(rf"([A-Za-z][\w@]*):?\s*({NUMBER})\s*\(\s*({NUMBER})\s*\)", re.IGNORECASE)
_RATE = re.compile(rf"\blr:?\s+({NUMBER})", re.IGNORECASE)
_LOSS = re.compile(rf"\bloss:?\s+({NUMBER})", re.IGNORECASE)
_OF_LAST_BATCHES = "Losses are those of the last batch of an epoch, as Paddle prints them."
_METRICS = {
    **dict.fromkeys(("acc1", "acc@1", "prec@1"), "acc1"),
    **dict.fromkeys(("acc5", "acc@5", "prec@5"), "acc5"),
    "loss": "loss",
}
_NAMES = {
    "timm": ("train_", "eval_", {"acc1": "top1", "acc5": "top5"}, "lr"),
    "DeiT": ("train_", "test_", {}, "train_lr"),
}
"""By family: prefixes of train and val, names of metrics, the name of the rate."""


@dataclass
class _Epochs:
    """The epochs of a log, one row each, as its lines are read.

    Attributes:
        rows: the rows by epoch; an epoch that is trained again replaces itself and later ones.
        passed_over: lines that are not of the rows, by reason.
    """

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    family: str = "DeiT"
    _epoch: int = -1
    _batches: list[tuple[int, int]] = field(default_factory=list)
    _losses: list[float] = field(default_factory=list)
    _tested: dict[str, Any] = field(default_factory=dict)
    _validated: bool = True

    def train(self, epoch: int, batch: int, batches: int, line: str) -> None:
        train, _, names, rate = _NAMES[self.family]
        if epoch != self._epoch or (self._batches and batch < self._batches[-1][0]):
            again = [number for number in self.rows if number >= epoch]
            self.passed_over["epochs that were trained again later"] += len(again)
            self.rows = {n: row for n, row in self.rows.items() if n < epoch} | {
                epoch: {"epoch": epoch}
            }
            self._batches, self._losses = [], []
        self._epoch, self._validated, self._tested = epoch, False, {}
        self._batches.append((batch, batches))
        averages = _averages(line)
        if "loss" not in averages and (match := _LOSS.search(line)):
            self._losses.append(float(match[1]))
            averages["loss"] = sum(self._losses) / len(self._losses)
        row = self.rows[epoch]
        row |= {train + names.get(name, name): value for name, value in averages.items()}
        if match := _RATE.search(line):
            row[rate] = match[1]

    def train_averages(self, line: str) -> None:
        """Read the averages over a whole epoch, which follow its last batch."""
        train, _, names, _ = _NAMES[self.family]
        if not self._validated:
            self._batches = []
            values = _averages(line)
            self.rows[self._epoch] |= {train + names.get(n, n): v for n, v in values.items()}

    def test_batch(self, batch: int, batches: int, line: str) -> None:
        self._tested = _averages(line)
        if self.family == "timm" and batch == batches:
            self.validate({})

    def summary(self, measured: dict[str, Any], *, of_test: bool) -> None:
        """Read the metrics of an evaluation; some programs print such a line after train too."""
        if of_test or self._tested:
            self.validate(measured)
        else:
            self.passed_over["summaries without lines of Test before them"] += 1

    def validate(self, measured: dict[str, Any]) -> None:
        _, val, names, _ = _NAMES[self.family]
        if self._validated:
            reason = "evaluations that follow another one, or no epoch"
            self.passed_over[reason] += 1
            return
        self._validated = True
        for name, value in (self._tested | measured).items():
            self.rows[self._epoch][val + names.get(name, name)] = value

    def end(self) -> None:
        """Leave out a last epoch that was neither finished nor validated."""
        if self._validated or not self._batches:
            return
        (batch, batches), before = self._batches[-1], self._batches[-2:][0][0]
        if batch + max(batch - before, 1) <= batches:  # another line should follow
            del self.rows[self._epoch]
            self.passed_over["unfinished last epochs"] += 1


def _averages(line: str) -> dict[str, Any]:
    """Return the running averages in a line, which are in brackets after the latest values."""
    found = ((name.lower(), average) for name, _, average in _AVERAGE.findall(line))
    return {_METRICS[name]: average for name, average in found if name in _METRICS}


def _running_averages(path: Path, lines: Lines) -> Table | None:
    epochs = _Epochs()
    for line in lines:
        kind, match = _train_batch(line)
        if match:
            epochs.family = "timm" if kind == "timm" else "DeiT"
            epoch, batch, batches = map(int, match.groups())
            epochs.train(epoch, batch, batches, line)
        elif _OF_AVERAGED_WEIGHTS.search(line):
            epochs.passed_over["lines about averaged weights (EMA)"] += 1
        elif "Averaged stats:" in line:
            epochs.train_averages(line)
        elif match := _SUMMARY.search(line):
            sign, *values = match.groups()
            names = zip(("acc1", "acc5", "loss"), values, strict=True)
            epochs.summary({name: value for name, value in names if value}, of_test=sign != "*")
        elif match := _TEST_BATCH.search(line):
            epochs.test_batch(int(match[1]), int(match[2]), line)
        elif match := _SUMMARY_OF_MNIST.search(line):
            share = 100 * int(match[2]) / max(int(match[3]), 1)
            epochs.validate({"loss": match[1], "accuracy": f"{share:.10g}%"})
    epochs.end()
    table = log_table(epochs.rows.values(), epochs.passed_over, OF_LAST_LINES)
    if table and not _measures_val(table):  # other lines may
        with suppress(TailproofError):
            other = read_prose(path, lines)
            return other if other and _measures_val(other) else table
    return table


def _measures_val(table: Table) -> bool:
    names = {name for row in table.rows for name in row}
    return any(
        said.role == "metric" and said.part in ("val", "test") for said in map(read_name, names)
    )


def _train_batch(line: str) -> tuple[str, re.Match[str] | None]:
    matches = ((kind, pattern.search(line)) for kind, pattern in _TRAIN_BATCH.items())
    return next(((kind, match) for kind, match in matches if match), ("", None))


# OpenMMLab: mmcls, mmpretrain and others.

_BATCHES_OF_MM = re.compile(
    r"- INFO - Epoch ?(?:\((\w+)\))?\s*\[(\d{1,7})\]\[\s*(\d+)(?:/\d+)?\]\s*(.*)"
)
_ITERATIONS_OF_MM = re.compile(r"- INFO - Iter ?(?:\((\w+)\))?\s*\[\s*(\d{1,12})(?:/\d+)?\]\s*(.*)")
_PAIR = re.compile(rf"([A-Za-z][\w./@-]*):\s+({NUMBER})(?![\d:])", re.IGNORECASE)


def _openmmlab(path: Path, lines: Lines) -> Table | None:
    rows: Rows = []
    iteration: int | None = None  # of a run that counts no epochs
    for line in lines:
        if match := _BATCHES_OF_MM.search(line):
            mode, epoch, batch, rest = match.groups(default="train")
            place = {"epoch": int(epoch)} | ({"iter": int(batch)} if mode == "train" else {})
        elif match := _ITERATIONS_OF_MM.search(line):
            mode, batch, rest = match.groups(default="train")
            iteration = int(batch) if mode == "train" else iteration
            if iteration is None:  # an evaluation before training
                continue
            place = {"iter": iteration}
        else:
            continue
        pairs = {name: value for name, value in _PAIR.findall(rest) if name != "eta"}
        if any(read_name(name).role == "metric" for name in pairs):
            rows.append({"mode": mode, **place, **pairs})
    return log_table(rows)


# Keras: a progress bar for each epoch, which ends with its averages.

_EPOCH_OF_KERAS = re.compile(r"Epoch (\d{1,7})/\d+")
_BAR_OF_KERAS = re.compile(r"\b(\d+)/(\d+)(?: (.*?))??((?: - [a-zA-Z]\w*: [-+.\denaif]+)+)")
_EVALUATION_OF_PADDLE = "Eval begin"
_LINES_OF_KERAS = "-"
"""How what follows the number of batches begins where Keras prints one line per epoch."""


def _keras(path: Path, lines: Lines) -> Table | None:
    rows: dict[int, dict[str, Any]] = {}
    epoch: int | None = None
    batches, ended, others = "", False, 0
    of_val, with_paddle = False, False
    for line in lines:
        if line.startswith(_EVALUATION_OF_PADDLE):
            of_val = with_paddle = True
        elif match := _EPOCH_OF_KERAS.fullmatch(line):
            epoch, batches, ended, of_val = int(match[1]), "", False, False
            if epoch in rows:
                raise TailproofError(
                    f"{path} contains several Keras runs, because epoch {epoch} begins again: "
                    "give the log of each run as a file of its own"
                )
        elif epoch is not None and (match := _BAR_OF_KERAS.search(line)):
            done, total, rest, pairs = match.groups()
            # A bar of evaluate or predict may follow that of an epoch.
            if of_val and epoch in rows:
                of_val, ended = of_val and done != total, True
                rows[epoch] |= {f"val_{name}": value for name, value in _PAIR.findall(pairs)}
            elif ended or (batches and (done != total or total != batches)):
                ended, others = True, others + 1
            elif done == total:
                rows[epoch] = {"epoch": epoch, **dict(_PAIR.findall(pairs))}
                batches = total
                ended = " - val_" in pairs or (rest or "").startswith(_LINES_OF_KERAS)
    others_by_reason = {"bars that follow the end of an epoch": others}
    return log_table(rows.values(), others_by_reason, _OF_LAST_BATCHES if with_paddle else "")


# Dictionaries that Python printed, or JSON in a line: Hugging Face Trainer, fairseq.

_DICTIONARY = re.compile(r"\{['\"][^{}]*\}")


def _dictionaries(path: Path, lines: Lines) -> Table | None:
    rows: Rows = []
    unread = 0
    for match in filter(None, map(_DICTIONARY.search, lines)):
        row = _read_dictionary(match[0])
        unread += row is None
        if isinstance(row, dict) and "epoch" in row:
            rows.append({str(name): value for name, value in row.items()})
    return log_table(rows, {"dictionaries that cannot be read": unread})


def _read_dictionary(text: str) -> Any:
    """Return a dictionary in JSON, or as Python prints it; None if it is neither."""
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return read_python_value(text)


# YOLOv5 before version 6.

_ROW_OF_YOLO = re.compile(r"(\d{1,7})/\d+\s+[\d.]+[GM]?((?:\s+[-+.\dena]+)+)")
_NAMES_OF_YOLO = (
    "train/box_loss", "train/obj_loss", "train/cls_loss", "train/loss", "labels", "image size",
    "metrics/precision", "metrics/recall", "metrics/mAP_0.5", "",
    "val/box_loss", "val/obj_loss", "val/cls_loss",
)  # fmt: skip


def _yolov5(path: Path, lines: Lines) -> Table | None:
    matches = [match for line in lines if (match := _ROW_OF_YOLO.fullmatch(line))]
    if not matches or len(matches) < len(lines):
        return None
    rows = [(int(match[1]), match[2].split()) for match in matches]
    if any(len(cells) != len(_NAMES_OF_YOLO) for _, cells in rows):
        raise TailproofError(
            f"{path} looks like results.txt of YOLO, expected 15 columns in each row: write its "
            "columns to a CSV file with their names, such as epoch, train/loss, val/loss"
        )
    named = [
        {name: cell for name, cell in zip(_NAMES_OF_YOLO, cells, strict=True) if name}
        for _, cells in rows
    ]
    return log_table(
        [{"epoch": epoch, **cells} for (epoch, _), cells in zip(rows, named, strict=True)],
        note="The 12th column is not read: it is mAP50-95 in YOLOv5, and F1 in YOLOv3.",
    )


# fastai and skorch: the table that a notebook shows, with sentences of callbacks in between.

_CHECKPOINT_OF_SKORCH = "cp"
"""A column with a plus where an epoch was saved, else blank."""


def _fastai(path: Path, lines: Lines) -> Table | None:
    heads = [line.split() for line in lines if line.startswith("epoch ")]
    names = next((head for head in heads if {"train_loss", "valid_loss"} <= set(head)), None)
    if names is None:
        return None
    names = [name for name in names if name != _CHECKPOINT_OF_SKORCH]
    cells = [line.replace(" + ", " ").split() for line in lines if line.split() not in heads]
    rows = [row for row in cells if row[0].isdecimal()]
    if any(len(row) != len(names) for row in rows[:-1]):
        return None
    rows = [row for row in rows if len(row) == len(names)]
    starts = sum(int(row[0]) == 0 for row in rows)
    if starts > 1:
        raise TailproofError(
            f"{path} contains {starts} fastai tables, each from epoch 0: give each table as a "
            "file of its own"
        )
    others = {"lines that are not rows of the table": len(cells) - len(rows)}
    return log_table([dict(zip(names, row, strict=True)) for row in rows], others)


# Gradient boosting: a line for each round.

_ROUND = re.compile(r"(?:\[(\d{1,9})\]|(\d{1,9}):)\s+(\S.*)")
_SCORE = re.compile(
    rf"\b(\w+?)(?:-|'s )([A-Za-z][\w@]*(?:-mean)?):\s*({NUMBER})|\b(learn|test):\s*({NUMBER})",
    re.IGNORECASE,
)  # XGBoost and LightGBM; CatBoost


def _boosting(path: Path, lines: Lines) -> Table | None:
    rows: dict[int, dict[str, Any]] = {}
    for match in filter(None, map(_ROUND.fullmatch, lines)):
        row = {}
        for part, metric, score, of_catboost, loss in _SCORE.findall(match[3]):
            row[f"{part or of_catboost}/{metric or 'loss'}"] = score or loss
        if row:
            rows.setdefault(int(match[1] or match[2]), row)  # the best one is printed again
    if len(rows) < FEWEST_EPOCHS:
        return None
    sets = {name.partition("/")[0] for row in rows.values() for name in row}
    plain = with_plain_sets(sets)
    return log_table(
        {"step": step, **{f"{plain[part]}/{metric}": score for name, score in row.items()
                          for part, _, metric in [name.partition("/")]}}
        for step, row in rows.items()
    )  # fmt: skip


# Caffe: the loss of train every so many iterations, and now and then a test.

_ITERATION_OF_CAFFE = re.compile(
    rf"\] Iteration (\d{{1,12}})\b[^,]*,\s*(?:(Testing)|(loss|lr) = ({NUMBER}))"
)
_ITERATION_WITH_SPEED = re.compile(rf"\] Iteration (\d{{1,12}}) \([^)]*\), loss = ({NUMBER})")
_OUTPUT_OF_CAFFE = re.compile(rf"Test net output #\d+: (\S{{1,80}}) = ({NUMBER})")


def _caffe(path: Path, lines: Lines) -> Table | None:
    rows: dict[int, dict[str, Any]] = {}
    iteration: int | None = None
    for line in lines:
        if match := _ITERATION_WITH_SPEED.search(line):
            iteration, pairs = int(match[1]), {"train/loss": match[2]}
        elif match := _ITERATION_OF_CAFFE.search(line):
            names = {None: "", "loss": "train/loss", "lr": "lr"}
            iteration, pairs = int(match[1]), {names[match[3]]: match[4]} if match[3] else {}
        elif iteration is not None and (match := _OUTPUT_OF_CAFFE.search(line)):
            pairs = {f"test/{match[1]}": match[2]}
        else:
            continue
        rows.setdefault(iteration, {"step": iteration}).update(pairs)
    return log_table(row for row in rows.values() if len(row) > 1)


# Darknet: the running mean of the loss in every iteration.

_ITERATION_OF_DARKNET = re.compile(
    rf"(\d{{1,12}}): {NUMBER}, ({NUMBER}) avg(?: loss)?, ({NUMBER}) rate,.*"
)
_MAP_OF_DARKNET = re.compile(r"\bmAP@([\d.]+)\s*=\s*([\d.]+)\s*%")


def _darknet(path: Path, lines: Lines) -> Table | None:
    rows: Rows = []
    scores: dict[str, str] = {}
    for line in lines:
        if match := _ITERATION_OF_DARKNET.fullmatch(line):
            step, loss, rate = match.groups()
            rows.append({"step": step, "train/loss": loss, "lr": rate, **scores})
            scores = {}
        elif match := _MAP_OF_DARKNET.search(line):
            scores = {f"val/mAP_{match[1]}": f"{match[2]}%"}
    return log_table(rows)


FORMS: tuple[Callable[[Path, Lines], Table | None], ...] = (
    _running_averages,
    _openmmlab,
    _keras,
    _dictionaries,
    _yolov5,
    _fastai,
    _boosting,
    _caffe,
    _darknet,
    read_prose,
    refuse_progress_bars,
)
