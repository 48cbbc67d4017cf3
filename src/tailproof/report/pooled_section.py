"""The section on what other experiments add: all folds pooled, and several draws of the splits."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tailproof.evaluation.draws import KINDS, TEST
from tailproof.evaluation.registry import METRICS
from tailproof.evaluation.table_columns import CROSS_FIT_COLUMNS, DRAWS_COLUMNS
from tailproof.number_format import MINUS
from tailproof.report.keyed_number import keyed
from tailproof.report.results import CHOSEN_BY
from tailproof.report.tables import DIFFERENCES, Cell, Row, Table, heading
from tailproof.text import quantity

COLUMNS = ("results", "groups")
"""The tables of the page whose metrics are shown."""

Values = dict[str, Any]


class Section(NamedTuple):
    """The content of the section.

    Attributes:
        title: its heading.
        words: what was pooled or compared.
        notes: what intervals and deviations cover.
        tables: its tables.
        stage: the stage that wrote its files.
        files: its files, below the results of the experiment.
    """

    title: str
    words: str
    notes: list[str]
    tables: list[Table]
    stage: str
    files: list[str]


def sections(pooled: dict[str, Values]) -> list[Section]:
    """Return a section for cross-fitting and one for the draws, of those that there are.

    Args:
        pooled: the content of metrics.json, by the stage that wrote it.
    """
    build = {"cross_fit": _folds, "draws": _draws}
    return [build[stage](metrics) for stage, metrics in pooled.items()]


def _folds(metrics: Values) -> Section:
    rows = quantity(metrics["rows"], "image")
    folds = quantity(len(metrics["folds"]), "fold")
    table = _of_methods(
        f"Results on {rows}, each tested in its fold",
        metrics,
        lambda values: values["over_seeds"][TEST],
    )
    words = (
        f"Each of {rows} is a test image once, in one of {folds}. The experts of a fold have not "
        "seen its images. The experts above are trained and tested with one choice of the splits."
    )
    files = _files("cross_fit", CROSS_FIT_COLUMNS)
    return Section("Cross-fitting", words, metrics["notes"], [table], "cross_fit", files)


def _draws(metrics: Values) -> Section:
    draws = metrics["draws"]
    words = (
        f"The experiment has {quantity(len(draws), 'draw')} of the long tail and the splits, with "
        f"the data seeds {', '.join(str(draw['data_seed']) for draw in draws.values())}. The "
        "results above are those of the first draw."
    )
    tables = [
        _of_methods(
            f"Mean over {quantity(len(draws), 'draw')} on test ± standard deviation between draws",
            metrics,
            lambda values: values,
        ),
        _of_each_draw(metrics),
    ]
    if metrics["paired"]:
        tables.append(_differences(metrics))
    files = _files("draws", DRAWS_COLUMNS)
    return Section("Draws of the splits", words, metrics["notes"], tables, "draws", files)


def _files(stage: str, tables: Iterable[str]) -> list[str]:
    return [f"{stage}/metrics.json", *(f"{stage}/{table}.csv" for table in tables)]


def _of_methods(title: str, metrics: Values, read: Callable[[Values], Values]) -> Table:
    """Return a table of all methods; `read` returns the metrics of one."""
    first = read(next(iter(metrics["experts"].values())))
    columns = [name for name, each in METRICS.items() if each.table in COLUMNS and name in first]
    rows = [
        Row(method, word, [_cell(name, read(values)) for name in columns], method)
        for kind, word in KINDS.items()
        for method, values in metrics[kind].items()
    ]
    return Table(title, "method", [heading(name) for name in columns], rows)


def _cell(name: str, metrics: Values) -> Cell:
    return Cell(**keyed(name, metrics.get(name, {"mean": None})))


def _of_each_draw(metrics: Values) -> Table:
    rows = [
        Row(
            method,
            word,
            [
                Cell(**keyed(CHOSEN_BY, values[CHOSEN_BY]["draws"][name]))
                for name in metrics["draws"]
            ],
            method,
        )
        for kind, word in KINDS.items()
        for method, values in metrics[kind].items()
    ]
    heads = [f"seed {draw['data_seed']}" for draw in metrics["draws"].values()]
    title = f"{heading(CHOSEN_BY)} of each draw, with its interval over test images"
    return Table(title, "method", heads, rows)


def _differences(metrics: Values) -> Table:
    """Return the differences from the first expert, over draws."""
    first = next(iter(metrics["experts"]))
    rows = []
    for pair, values in metrics["paired"].items():
        method, other = pair.split(" - ")
        if first in (method, other):
            cells = [Cell(**keyed(name, values[name], sign=True)) for name in DIFFERENCES]
            rows.append(Row(f"{method} {MINUS} {other}", "", cells))
    heads = [heading(name, unit="points") for name in DIFFERENCES]
    title = f"Differences from {first} on test: mean over draws ± standard deviation between draws"
    return Table(title, "pair", heads, rows)
