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

from tailproof.evaluation.registry import metric_of
from tailproof.report.metric_format import number
from tailproof.report.results import Scores
from tailproof.runtime.errors import TailproofError

WIDTH = 100  # of output into a file
BEFORE_AND_AFTER = ("ece",)  # ≈ between the two stands for a difference within noise
COLUMNS = ("top1", "balanced_accuracy", "few_accuracy", "nll", "ece")


def summary(folder: Path) -> Table:
    """Return the results on test with a row per method: mean over seeds, interval below.

    Raises:
        TailproofError: metrics.json is missing or damaged.
    """
    scores = Scores.read(folder)
    title = f"{folder.name} on test: mean over seeds, 95 % interval below"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", overflow="fold")
    for metric in COLUMNS:
        table.add_column(_heading(metric), justify="right", no_wrap=True)
    for method in scores.methods:
        cells = [_cell(scores, method, metric) for metric in COLUMNS]
        table.add_row(escape(method), *cells, style="bold" if method == scores.best else "")
    return table


def _heading(name: str) -> str:
    metric = metric_of(name)
    heading = metric.label.replace(" ", "\n") + (" %" if metric.percent else "")
    return f"{heading}\nbefore\n→ after" if name in BEFORE_AND_AFTER else heading


def _cell(scores: Scores, method: str, metric: str) -> str:
    value = scores.value("test", method, metric)
    before = scores.value("test", method, f"{metric}_uncalibrated")["mean"]
    text = number(metric, value["mean"])
    if metric in BEFORE_AND_AFTER:
        noise = scores.calibration_verdict("test", method) == "same"
        text = f"{number(metric, before)} {'≈' if noise else '→'} {text}"
    ends = [number(metric, value[end]) for end in ("low", "high") if value[end] is not None]
    return f"{text}\n[not bold dim]{'–'.join(ends)}[/]"


def main(arguments: list[str] | None = None) -> int:
    """Print the table and the path of the report; return the exit status."""
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
    hint = "" if page.exists() else f" (not written yet: snakemake --cores all {page})"
    console.print(f"Report: {page}{hint}", soft_wrap=True, highlight=False, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
