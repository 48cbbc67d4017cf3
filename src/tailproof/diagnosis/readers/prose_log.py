"""Reads the logs of loops of one's own: ``Epoch 3/10, train loss: 0.52, val acc: 81.2 %``."""

import re
from collections.abc import Iterable
from pathlib import Path

from tailproof.diagnosis.column_aliases import PARTS, UNKNOWN, ColumnName, read_name
from tailproof.diagnosis.readers.log_lines import (
    FEWEST_EPOCHS,
    NUMBER,
    OF_LAST_LINES,
    Lines,
    log_table,
)
from tailproof.diagnosis.readers.table import Rows, Table
from tailproof.runtime.errors import TailproofError

_HEADING = re.compile(
    r"(?:^|[^\w.])epoch\b\s*[\s:=#\[(]{0,4}(\d{1,7})(?:\.0+)?(?![\d]|\.\d)(?:\s*(?:/|of)\s*\d+)?",
    re.I,
)
_NAMED = re.compile(
    r"([A-Za-z][\w@/]*(?:[ .-][A-Za-z][\w@/]*|-\d\b){0,4}\.?)"
    rf"['\"]?(?:\s*[:=]\s*|\s+)({NUMBER})\s?(%?)(?![\w:])(?:\s*\(\s*({NUMBER})\s*%?\))?",
    re.I,
)
_WORDS_OF_METRICS = {"acc", "accuracy", "err", "error", "f1", "auc", "top1", "top5"}
_LOOKS_BACK = re.compile(r"best|better|improv|sav|load|resum|restor|stopp", re.I)
"""Words before the number of an epoch that is not the one in progress."""
_WORD = re.compile(r"(?<![\w./])[A-Za-z]+(?![\w/]|\.\S)")
_COUNTED = re.compile(r"\W*\d{1,7}\s*/\s*\d{1,7}(?![\d/])")
"""How the line of a batch begins, such as ``[3/60]``."""
_BATCH = re.compile(
    r"(?<![a-z_])(?:iter|iteration|batch|step)\b[\s:=#\[(]{0,4}\d|[\[(]\s*\d+\s*/\s*\d+", re.I
)
"""What the line of a batch contains."""
_COUNT = re.compile(r"(?<![\d/.:])\d{1,7}\s*/\s*(\d{1,7})(?![\d/:]|\.\d)")
"""The number of a batch and of all, before the metrics; not a date or a time."""
_OF_EPOCH = re.compile(r"(?<![a-z])(avg|average|averaged|mean)(?![a-z])", re.I)
"""Means of an epoch so far, or of the whole one, replace values before them."""

_CHECKPOINT = re.compile(r"\S+\.(?:ckpt|pth?|h5|hdf5|keras|bin|safetensors|pdparams)\b")
_WRAPPED = re.compile(
    rf"\b(?:\w+\.)?(?:tensor|array|float\d\d|int\d\d)\(\s*({NUMBER})(?:,[^()]*)?\)", re.I
)
_OF_NETWORK = re.compile(
    r"accuracy of the \w+ on (?:the )?(?:\d+ )?(\w+) (?:images|samples|set|data\w*)\b", re.I
)
"""How PyTorch's tutorials name the accuracy: `of the network on the 10000 test images`."""


def read_prose(path: Path, lines: Lines) -> Table | None:
    """Return the table of a log in prose; None if it has no epochs.

    Raises:
        TailproofError: the log is that of several runs.
    """
    rows: Rows = []
    measured: dict[str, Rows] = {}  # the rows of the last epoch by the names in them
    epoch: int | None = None
    first: int | None = None
    part, of_batches = "", set[str]()
    names: dict[bool, set[str]] = {True: set(), False: set()}  # by whether a line is of a batch
    with_averages = False
    totals: dict[str, str] = {}  # numbers of batches in the last epoch by names without a split
    for line in map(_plain, _without_bars(lines)):
        before, rest = "", line
        if match := _HEADING.search(line):
            before, rest = line[: match.start()], line[match.end() :]
            if _LOOKS_BACK.search(before):
                continue
            if epoch != int(match[1]):
                of_batches, measured, totals = set(), {}, {}
            if int(match[1]) == first and epoch != first and len({r["epoch"] for r in rows}) > 1:
                raise TailproofError(
                    f"{path} contains several runs, because epoch {first} begins again: give the "
                    "log of each run as a file of its own"
                )
            epoch, part = int(match[1]), _split_in(before)
            first = epoch if first is None else first
        is_batch = bool(_COUNTED.match(line) or _BATCH.search(rest))
        pairs, averages = _named(rest, part) if epoch is not None else ({}, {})
        if not pairs:
            part = _split_in(rest) or part
            continue
        if is_batch:
            of_batches |= pairs.keys()
            pairs |= averages
            replaced = set(averages)
            with_averages = with_averages or bool(averages)
        elif _OF_EPOCH.search(rest):
            pairs = _with_splits_of_batches(pairs, of_batches)
            replaced = set(pairs)
        else:
            replaced = of_batches & pairs.keys()
            of_batches -= replaced
        _forget(measured, replaced)
        _check_passes(path, rest, pairs, totals)
        part = _split_after(part, pairs)
        names[is_batch] |= pairs.keys()
        if not measured or rows[-1].keys() & pairs.keys():
            rows.append({"epoch": epoch})
        rows[-1] |= pairs
        for name in pairs:
            measured.setdefault(name, []).append(rows[-1])
    dropped = _of_batches_only(names[True] - names[False], names[False])
    rows = [{name: row[name] for name in row if name not in dropped} for row in rows]
    rows = [row for row in rows if any(read_name(name).role == "metric" for name in row)]
    if len({row["epoch"] for row in rows}) < FEWEST_EPOCHS:
        return None
    bars = sum(bool(_BAR.search(line)) for line in lines)
    return log_table(rows, {"progress bars": bars}, OF_LAST_LINES if with_averages else "")


def _plain(line: str) -> str:
    """Return a line without names of checkpoints, and with numbers as plain as they can be."""
    line = _OF_NETWORK.sub(r"\1 accuracy", _CHECKPOINT.sub(" ", line))
    return _WRAPPED.sub(r"\1", line)


def _check_passes(path: Path, line: str, pairs: dict[str, str], totals: dict[str, str]) -> None:
    """Check that batches of train and of val, whose names have no split, are not mixed.

    Raises:
        TailproofError: an epoch has another number of batches than before.
    """
    first = _NAMED.search(line)
    count = _COUNT.search(line, 0, first.start() if first else len(line))
    if not count:
        return
    for name, said in ((name, read_name(name)) for name in pairs):
        total = totals.setdefault(name, count[1])
        if total != count[1] and said.role == "metric" and not said.part:
            raise TailproofError(
                f"{path} has {total} and {count[1]} batches in an epoch, both with {name}, and no "
                "word for train or val: write a table with epoch, train_loss and val_loss"
            )


def _of_batches_only(of_batches: set[str], of_epochs: set[str]) -> list[str]:
    """Return names of batches without a split where the lines of epochs have those of train."""
    trained = {said.metric for said in map(read_name, of_epochs) if said.part == "train"}
    validated = {said.metric for said in map(read_name, of_epochs) if said.part in ("val", "test")}
    roles = {name: read_name(name) for name in of_batches}
    return [n for n, said in roles.items() if not said.part and said.metric in trained - validated]


def _forget(measured: dict[str, Rows], names: Iterable[str]) -> None:
    """Take values out of the rows of the last epoch."""
    for name in names:
        for row in measured.pop(name, ()):
            row.pop(name, None)


def _split_in(text: str) -> str:
    """Return the word for a split in a text; empty if there is none, or if there are several."""
    words = [word for word in _WORD.findall(text) if word.lower() in PARTS]
    return words[0] if len({PARTS[word.lower()] for word in words}) == 1 else ""


def _split_after(part: str, pairs: dict[str, str]) -> str:
    """Return the split of what follows a line: its own, if that is val or test.

    An accuracy after a loss of train may be of val.
    """
    own = _split_in(" ".join(pairs))
    if own in ("", part):
        return part
    return "" if PARTS[own.lower()] == "train" else own


def _with_splits_of_batches(pairs: dict[str, str], of_batches: set[str]) -> dict[str, str]:
    """Give means over an epoch that name no split the names that its batches had."""
    batches = {read_name(name).metric: name for name in of_batches}
    roles = {name: read_name(name) for name in pairs}
    return {
        name if roles[name].part else batches.get(roles[name].metric, name): number
        for name, number in pairs.items()
    }


def _named(text: str, part: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the metrics in a line, and those that have their average after them in brackets.

    A split also counts for the names after it in the line.

    Args:
        text: the line, or what follows the number of the epoch.
        part: the split of names that have none.
    """
    pairs: dict[str, str] = {}
    averages: dict[str, str] = {}
    end = 0
    for match in _NAMED.finditer(text):
        name, number, sign, average = match.groups()
        part = _split_in(text[end : match.start()]) or part
        end = match.end()
        said = read_name(name)
        if said.role in ("learning_rate", "step"):
            part = _split_in(name) or part
            pairs.setdefault(name, number)
            continue
        known = said.role == "metric" and said.known
        if not known and (_LOOKS_BACK.search(name) or not _is_like_metric(said)):
            continue
        part = said.part or part if known else part
        full = name if said.part or not part else f"{part} {name}"
        pairs.setdefault(full, number + sign)
        if average:
            averages.setdefault(full, average + sign)
    has_metric = any(read_name(name).role == "metric" for name in pairs)
    return (pairs, averages) if has_metric else ({}, {})


def _is_like_metric(said: ColumnName) -> bool:
    """Return whether an unknown name could be a metric, which must not be left out silently."""
    words = said.metric.split("_")
    unknown = said.role == "metric" or said.reason == UNKNOWN
    like = any(word.endswith("loss") or word in _WORDS_OF_METRICS for word in words)
    return unknown and (like or said.metric in PARTS)


# Bars that show numbers of the epoch before, or of a part of one.

_BAR = re.compile(
    r"\d+%\|[^|]*\|\s*\S+/\S+ \[[^\]]*\]?|\b\d+it \[[^\]]*\]?|[━╸╺]{3,}\s+(?:\d+/\d+|\d+%).*"
)  # tqdm, with and without a total; rich


def refuse_progress_bars(path: Path, lines: Lines) -> Table | None:
    """Refuse a log that has progress bars and nothing else that is read.

    Raises:
        TailproofError: it does.
    """
    if any(map(_BAR.search, lines)):
        raise TailproofError(
            f"{path} contains progress bars of Lightning or tqdm, which show only rounded numbers "
            "and repeat those of the last validation: give metrics.csv of Lightning's CSVLogger, "
            "or write a row with epoch, train_loss and val_loss after every epoch"
        )
    return None


def _without_bars(lines: Lines) -> Lines:
    """Leave the epoch and the split of a bar, without its numbers, and what follows the bar."""
    plain: Lines = []
    for line in lines:
        if not (bar := _BAR.search(line)):
            plain.append(line)
            continue
        before, after = line[: bar.start()], line[bar.end() :].strip()
        heading = _HEADING.search(before)
        plain.append(before[: heading.end()] if heading else _NAMED.sub(" ", before))
        plain += [after] if after else []
    return plain
