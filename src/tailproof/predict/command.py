"""The command `tailproof predict`: what it prints; the answers are those of `tailproof.open`."""

import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tailproof.data.image_files import find_images
from tailproof.output import report
from tailproof.predict.answers import DECISION, PROBABILITY, Answers
from tailproof.predict.class_priors import read_allowed, read_counts
from tailproof.predict.classify import Batch, batch_size
from tailproof.predict.expert import open_expert
from tailproof.predict.groups import cells_of, groups_of
from tailproof.predict.image_inputs import GivenImage
from tailproof.predict.option_rules import NOTHING, Options, Promised
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.process import tune_malloc
from tailproof.runtime.progress import track
from tailproof.terminal import Console, escape
from tailproof.text import listed, quantity
from tailproof.untrusted_text import csv_line, printable


def predict_images(
    folder: str,
    places: list[str],
    *,
    as_csv: bool,
    rule: str,
    coverage: float | None,
    group: str | None = None,
    table: str | None = None,
    classes: str | None = None,
    prior: str | None = None,
    adapt: bool = False,
    context: str | None = None,
    promised: Promised = NOTHING,
) -> bool:
    """Print an expert's predictions for images; return whether all images could be read.

    Errors of images go to stderr, followed by what was passed over in folders, and by the duration
    without the loading of the expert.

    Args:
        folder: folder of the expert.
        places: image files and folders.
        as_csv: whether to print CSV with all probabilities instead of a table.
        rule: name of the rule that accepts or rejects predictions.
        coverage: accepted fraction on the split tune; None for the default in deployment.json.
        group: what makes images one thing with one answer: folder, or a column of the table.
        table: path of a table with the columns file and `group`.
        classes: path of a text file with the allowed classes.
        prior: path of a table with the number of samples of each class.
        adapt: whether to estimate the class shares of the images.
        context: path of a table with the column file and those of the expert's context.
        promised: what the answers should promise.

    Raises:
        TailproofError: the folder is not an expert, or the rule or an image path does not exist,
            or the table does not list an image, or a promise cannot be made.
    """
    tune_malloc()
    expert = open_expert(folder)
    options = Options(
        rule,
        coverage,
        promised,
        group is not None,
        None if classes is None else partial(read_allowed, classes),
        None if prior is None else partial(read_counts, prior),
        adapt,
        None if context is None else lambda names: list(cells_of(files, context, names).values()),
        prefix="--",
    )
    classifier = expert.classifier(options, report)
    found = find_images(places, expert.loaded.deployment.images)
    files, broken = list(found.files), found.unreadable
    if group is None and table is not None:
        raise TailproofError("--table needs --group: set --group to a column of the table")
    groups = None if group is None else groups_of(files, group, table)
    batches = classifier.batches([GivenImage(file, file) for file in files], groups)
    count, images, unknown = {True: 0, False: 0}, [0], [0]

    def answered() -> Iterator[Answered]:
        number = -(-len(files) // batch_size(expert.loaded))
        for batch in track(batches, "predict", number):
            broken.extend(batch.broken.values())
            if batch.answers is not None:
                images[0] += sum(batch.images)
                unknown[0] += int(batch.answers.unknown.sum())
                for accepted in batch.answers.accepted.tolist():
                    count[accepted] += 1
                yield batch, batch.answers

    start = time.perf_counter()
    write = write_csv if as_csv else print_table
    write(classifier.no_answers, answered(), grouped=group is not None)
    seconds = time.perf_counter() - start
    sys.stdout.flush()
    for error in broken:
        report(printable(error))
    if found.skipped:
        report(found.passed_over)
    counted = quantity(images[0], "image")
    if group is not None:
        counted += f" in {quantity(sum(count.values()), 'group')}"
    unread = f"; {len(broken):,} could not be read" if broken else ""
    without = f", fitted without {listed(options.changes)}" if options.changes else ""
    by_score = f", {unknown[0]} unknown by {classifier.unknown_rule}" * bool(
        classifier.unknown_rule
    )
    print(
        f"{counted}, {count[False] - unknown[0]} rejected by {classifier.rule}{by_score}{without}; "
        f"{seconds:.2f} s on {expert.loaded.device}, "
        f"{images[0] / seconds:.0f} images/s{unread}",
        file=sys.stderr,
    )
    return not broken


BETWEEN = " | "
"""Between the classes of a set."""

PIPED = 10_000  # width of a table that is written to a file, so that nothing is cut off


Answered = tuple[Batch, Answers]


def write_csv(empty: Answers, batches: Iterable[Answered], *, grouped: bool = False) -> None:
    """Write one CSV row per answer to stdout, with all probabilities as columns ``RANK=CLASS``.

    Names are printable, and no cell is a formula of a spreadsheet.

    Args:
        empty: no answers, which have the columns.
        batches: the answers.
        grouped: whether each is for a group of images.
    """
    unit = ["group", "images"] if grouped else ["file"]
    head = [*unit, *(name for name, _ in empty.columns()), *empty.probability_names]
    sys.stdout.write(csv_line(map(printable, head)))
    for batch, answers in batches:
        values = np.concatenate(list(answers.probabilities.values()), axis=1).tolist()
        for row, numbers in zip(_rows(batch, answers, grouped=grouped), values, strict=True):
            cells = [_text(cell) for cell in row]
            listing = ",".join(f"{number:.7g}" for number in numbers)
            sys.stdout.write(f"{csv_line(cells)[:-1]},{listing}\n")


def _rows(batch: Batch, answers: Answers, *, grouped: bool) -> Iterator[tuple[Any, ...]]:
    """Yield the cells of each answer."""
    units = [batch.names, batch.images] if grouped else [batch.names]
    return zip(*units, *(values for _, values in answers.columns()), strict=True)


def _text(cell: Any, digits: str = ".7g") -> str:
    """Return a cell of the table as text: a number, a name or a set of names."""
    if isinstance(cell, float):
        return format(cell, digits)
    if isinstance(cell, tuple):
        cell = BETWEEN.join(cell)
    return "" if cell is None else printable(cell)


def print_table(empty: Answers, batches: Iterable[Answered], *, grouped: bool = False) -> None:
    """Print a table with one row per answer: the class at each rank, probability and decision."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("group" if grouped else "file", overflow="fold")
    if grouped:
        table.add_column("images", justify="right")
    for name, _ in empty.columns():
        whole = name in (PROBABILITY, DECISION)
        table.add_column(
            escape(name),
            overflow="ellipsis" if whole else "fold",
            no_wrap=whole,
            justify="right" if name == PROBABILITY else "left",
        )
    for batch, answers in batches:
        for row, accepted in zip(
            _rows(batch, answers, grouped=grouped), answers.accepted.tolist(), strict=True
        ):
            cells = [escape(_text(cell, ".4f")) for cell in row]
            table.add_row(*cells, style="" if accepted else "yellow")
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else PIPED).print(table)
