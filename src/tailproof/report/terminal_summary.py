"""The table of results in a terminal.

``python -m tailproof.report.terminal_summary results/NAME`` prints it.
"""

import argparse
import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tailproof.report.metric_format import number
from tailproof.report.results import Scores
from tailproof.runtime.errors import TailproofError

WIDTH = 100  # of what is piped into a file
HEADS = {
    "top1": "Top-1 %",
    "balanced_accuracy": "Balanced %",
    "few_accuracy": "Few %",
    "nll": "NLL",
    "ece": "ECE %\nbefore\n→ after",
}


def summary(folder: Path) -> Table:
    """Return the results on test, a row a method: mean over seeds, its interval below.

    Raises:
        TailproofError: metrics.json is missing or damaged.
    """
    scores = Scores.read(folder)
    title = f"{folder.name} on test: mean over seeds, 95 % interval below"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", overflow="fold")
    for head in HEADS.values():
        table.add_column(head, justify="right", no_wrap=True)
    for method in scores.methods:
        cells = [_cell(scores, method, metric) for metric in HEADS]
        table.add_row(escape(method), *cells, style="bold" if method == scores.best else "")
    return table


def _cell(scores: Scores, method: str, metric: str) -> str:
    value = scores.value("test", method, metric)
    before = scores.value("test", method, f"{metric}_uncalibrated")["mean"]
    text = number(metric, value["mean"])
    if metric == "ece" and before is not None:
        text = f"{number(metric, before)} → {text}"
    limits = [number(metric, value[end]) for end in ("low", "high") if value[end] is not None]
    return f"{text}\n[not bold dim]{'–'.join(limits)}[/]"


def main(arguments: list[str] | None = None) -> int:
    """Print the table and where the report is; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tailproof.report.terminal_summary", description=__doc__
    )
    parser.add_argument("results", type=Path, help="results/NAME")
    folder = parser.parse_args(arguments).results
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        table = summary(folder)
    except TailproofError as error:
        print(error, file=sys.stderr)
        return 1
    console.print(table)
    best = Scores.read(folder).best
    console.print(f"Best on dev, by balanced accuracy: {best}", highlight=False, markup=False)
    page = folder / "report" / "index.html"
    there = "" if page.exists() else f" (not there yet: snakemake --cores all {page})"
    console.print(f"Report: {page}{there}", soft_wrap=True, highlight=False, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
