"""Answers as a table for people, and as CSV for programs."""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tailproof.prediction.predict import Answer

WORDS = {True: "accept", False: "reject"}
PIPED = 10_000  # columns of a table that goes into a file: nothing is cut


def write_csv(ranks: dict[str, list[str]], answers: Iterable[Answer]) -> None:
    """Write to stdout a row an image, as it comes: all probabilities, named ``RANK=CLASS``.

    Args:
        ranks: class names by rank, the target's first.
        answers: of all images.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    target, *others = ranks
    columns = [f"{rank}={name}" for rank, names in ranks.items() for name in names]
    writer.writerow(["file", target, "probability", "decision", *others, *columns])
    for answer in answers:
        chosen, *above = answer.classes.values()
        values = [value for own in answer.probabilities.values() for value in own]
        numbers = [f"{value:.7g}" for value in (answer.probability, *values)]
        said = [printable(answer.file), chosen, numbers[0], WORDS[answer.accepted]]
        writer.writerow([*said, *above, *numbers[1:]])


def print_table(ranks: dict[str, list[str]], answers: Iterable[Answer]) -> None:
    """Print to stdout a row an image: its class at each rank, how sure, whether to take it."""
    target, *others = ranks
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column(escape(target), overflow="fold")
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    for rank in others:
        table.add_column(escape(rank), overflow="fold")
    for answer in answers:
        chosen, *above = map(escape, answer.classes.values())
        shown = [escape(printable(answer.file)), chosen, f"{answer.probability:.4f}"]
        style = "" if answer.accepted else "yellow"
        table.add_row(*shown, WORDS[answer.accepted], *above, style=style)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else PIPED).print(table)


def printable(text: str | Path) -> str:
    """Return text that can be printed, also of a file whose name is not valid UTF-8."""
    return str(text).encode(errors="replace").decode()
