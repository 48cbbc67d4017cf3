"""The tables of the page as plain values for the template."""

from collections.abc import Collection
from typing import NamedTuple

import pandas as pd

from tailproof.config.splits import SPLITS
from tailproof.data.split_text import SPLIT_PURPOSES
from tailproof.evaluation.class_groups import GROUPS
from tailproof.evaluation.registry import LONG_TAIL, METRICS, PageTable, metric_of
from tailproof.number_format import MINUS, MISSING
from tailproof.report.keyed_number import KeyedNumber, compared, excludes_zero, keyed, measured
from tailproof.report.metric_format import RULE_LABELS, SPACE, kind
from tailproof.report.results import Results, Scores
from tailproof.text import listed

BEFORE_AND_AFTER = ("ece",)  # metrics that also have a column before calibration
DIFFERENCES = ("balanced_accuracy", "top1", "few_accuracy", "nll", "ece")
RECALL = {"mean": "recall", "low": "recall_low", "high": "recall_high"}
PAIRS = 60
CLASS_ROWS = 100
CONFUSED_CLASSES = 20


class Cell(NamedTuple):
    """One number of a table.

    Attributes:
        main: the number.
        low: lower end of its interval, shown below it.
        high: upper end of its interval.
        sd: standard deviation, shown next to it.
        strong: whether it is the best of its column, or a difference whose interval excludes zero.
        heat: tint of the cell, 0 to 1.
    """

    main: KeyedNumber
    low: KeyedNumber | None = None
    high: KeyedNumber | None = None
    sd: KeyedNumber | None = None
    strong: bool = False
    heat: float | None = None


class Row(NamedTuple):
    """A row.

    Attributes:
        label: its heading.
        tag: a word next to the heading.
        cells: its numbers.
        method: its expert or ensemble, if it has one.
    """

    label: str
    tag: str
    cells: list[Cell]
    method: str = ""


class Table(NamedTuple):
    """A table.

    Attributes:
        title: its caption.
        corner: heading of the first column.
        head: headings of the other columns.
        rows: rows with one cell per heading.
        compact: whether cells are narrow, as in a matrix.
        method: its expert or ensemble, if it has only one.
    """

    title: str
    corner: str
    head: list[str]
    rows: list[Row]
    compact: bool = False
    method: str = ""


def columns_of(table: PageTable, scores: Scores) -> list[str]:
    """Return the metrics of a table that evaluate measured, in the order of the registry."""
    measured_metrics = scores.metrics_measured
    return [
        name
        for name, metric in METRICS.items()
        if metric.table == table and name in measured_metrics
    ]


def main_columns(scores: Scores) -> list[str]:
    """Return the metrics of the main table, some of them before and after calibration."""
    return _with_before(columns_of("results", scores))


def long_tail_columns(scores: Scores) -> list[str]:
    """Return the long-tail-weighted metrics of the main table."""
    weighted = [name for name in columns_of("results", scores) if METRICS[name].long_tail]
    return [f"{LONG_TAIL}{name}" for name in _with_before(weighted)]


def _with_before(names: list[str]) -> list[str]:
    columns = []
    for name in names:
        columns += [f"{name}_uncalibrated", name] if name in BEFORE_AND_AFTER else [name]
    return columns


def of_methods(scores: Scores, split: str, metrics: list[str], title: str) -> Table:
    """Return each method's mean over seeds with its interval and sd, the best in bold."""
    best = {name: _best(scores, split, name) for name in metrics}
    rows = []
    for method in scores.methods:
        cells = []
        for name in metrics:
            shown = measured(scores, split, method, name)
            value = shown["main"].value
            cells.append(Cell(**shown, strong=value is not None and value == best[name]))
        rows.append(Row(method, kind(scores, method), cells, method))
    return Table(title, "method", [heading(name, metrics) for name in metrics], rows)


def _best(scores: Scores, split: str, name: str) -> float | None:
    """Return the best mean; None for a column with one value or before calibration."""
    means = [scores.value(split, method, name)["mean"] for method in scores.methods]
    defined = [mean for mean in means if mean is not None]
    if len(defined) < 2 or name.endswith("_uncalibrated"):
        return None
    return max(defined) if metric_of(name).higher_is_better else min(defined)


def heading(name: str, others: Collection[str] = (), unit: str = "%") -> str:
    """Return the heading of a metric's column, with its unit."""
    metric = metric_of(name)
    label = metric.label
    if name.endswith("_uncalibrated"):
        label = f"{label} before"
    elif f"{name}_uncalibrated" in others:
        label = f"{label} after"
    return f"{label},{SPACE}{unit}" if metric.percent else label


def against_first(scores: Scores, split: str) -> Table:
    """Return the difference between every method and the first expert."""
    pairs = [(method, scores.first) for method in scores.methods if method != scores.first]
    table = _differences(scores, split, pairs, f"Difference from {scores.first} on {split}")
    rows = [
        row._replace(label=method, tag=kind(scores, method), method=method)
        for row, (method, _) in zip(table.rows, pairs, strict=True)
    ]
    return table._replace(corner="method", rows=rows)


def all_pairs(scores: Scores, split: str) -> Table:
    """Return the differences of all pairs in metrics.json, at most PAIRS."""
    pairs = [tuple(pair.split(" - ")) for pair in scores.metrics["paired"][split]][:PAIRS]
    return _differences(scores, split, pairs, f"All pairs on {split}")


def _differences(scores: Scores, split: str, pairs: list[tuple[str, str]], title: str) -> Table:
    rows = []
    for method, other in pairs:
        cells = []
        for name in DIFFERENCES:
            shown = compared(scores, split, method, other, name)
            clear = excludes_zero(scores.difference(split, method, other, name))
            cells.append(Cell(**shown, strong=clear))
        rows.append(Row(f"{method} {MINUS} {other}", "", cells))
    heads = [heading(name, unit="points") for name in DIFFERENCES]
    return Table(title, "pair", heads, rows)


def split_sizes(results: Results) -> Table:
    """Return the six splits: samples, classes without samples, and purpose."""
    counts = results.splits["class_counts"]
    rows = []
    for split in SPLITS:
        absent = sum(counts[name][split] == 0 for name in results.classes)
        cells = [_count(results.splits["splits"][split]), _count(absent)]
        rows.append(Row(split, SPLIT_PURPOSES[split], cells))
    return Table("The six splits", "split", ["samples", "classes without samples"], rows)


def of_sample_groups(scores: Scores) -> Table:
    """Return the metrics of groups of samples next to those of single samples."""
    metrics = ["top1", "group_top1", "group_gained_top1", "ece", "group_ece", "group_ece_debiased"]
    table = of_methods(scores, "test", metrics, "One answer for all samples of a group, on test")
    heads = [
        "Top-1 of samples, %", "Top-1 of groups, %", "gained, points", "ECE of samples, %",
        "ECE of groups, %", "ECE of groups, debiased, %",
    ]  # fmt: skip
    return table._replace(head=heads)


def left_out(results: Results) -> Table:
    """Return what the source left out, and the images that cannot be read; no row if nothing."""
    skipped = list(results.prepared["skipped"])
    if results.prepared["bad_images"]:
        unreadable = "images that cannot be read"
        skipped.append({"reason": unreadable, "count": results.prepared["bad_images"]})
    rows = [
        Row(part["reason"], listed(part.get("examples", [])), [_count(part["count"])])
        for part in skipped
        if part["count"]
    ]
    return Table("Left out before the splits", "what", ["count"], rows)


def of_classes(results: Results) -> Table:
    """Return the training samples and the test recall of each class, at most CLASS_ROWS."""
    scores = results.scores
    methods = list(dict.fromkeys([scores.first, scores.best]))
    table = results.tables["per_class"].query("split == 'test'").set_index(["method", "class"])
    rows = []
    ordered = sorted(results.train_counts, key=lambda name: -results.train_counts[name])
    for name in ordered[:CLASS_ROWS]:
        cells = [_count(results.train_counts[name])]
        cells.append(_count(int(table.loc[(scores.best, name), "support"])))
        for method in methods:
            values = table.loc[(method, name)]
            recall = {
                field: None if pd.isna(values[column]) else float(values[column])
                for field, column in RECALL.items()
            }
            cells.append(Cell(**keyed("top1", recall)))
        rows.append(Row(name, results.groups[name], cells))
    head = ["in train", "in test", *(f"recall, {method}, %" for method in methods)]
    return Table("Recall of each class on test", "class", head, rows)


def at_coverages(results: Results) -> Table:
    """Return coverage and errors of the best method on test, with thresholds from tune."""
    scores = results.scores
    rows = []
    for coverage in sorted(results.experiment.evaluation.coverages):
        for rule, label in RULE_LABELS.items():
            cells = []
            for what in ("coverage", "risk_standard", "risk_balanced", "risk_worst"):
                metric = f"{what}_{rule}_at_{coverage:g}"
                shown = measured(scores, "test", scores.best, metric, like="top1")
                cells.append(Cell(**shown | {"sd": None}))
            rows.append(Row(f"{100 * coverage:g} %", label, cells))
    head = ["coverage, %", "error, %", "balanced error, %", "worst-group error, %"]
    return Table(f"{scores.best} on test, thresholds from tune", "coverage on tune", head, rows)


def agreement(scores: Scores) -> Table:
    """Return the agreement on test of each pair of shown experts."""
    shown = set(scores.shown_experts)
    rows = []
    for pair, values in scores.metrics["agreement"]["test"].items():
        if set(pair.split(" / ")) <= shown:
            cells = []
            for name in ("agreement", "kappa", "exactly_one_right"):
                value = values["over_seeds"][name]
                key = f"agreement.test.{pair}.over_seeds.{name}"
                like = "nll" if name == "kappa" else "top1"
                numbers = keyed(like, value, {field: f"{key}.{field}" for field in value})
                cells.append(Cell(**numbers | {"sd": None}))
            rows.append(Row(pair, "", cells))
    head = ["same class, %", "Cohen's kappa", "exactly one right, %"]
    return Table("Agreement of the experts on test", "experts", head, rows)


def confusion_by_group(results: Results, method: str) -> Table:
    """Return the confusion of the groups many, medium and few, as shares of the true group."""
    table = _confusion(results, method)
    for side in ("true", "predicted"):
        table[side] = table[side].map(results.groups)
    names = [group for group in GROUPS if group in set(results.groups.values())]
    return _matrix(method, table, names)


def confusion_by_class(results: Results, method: str) -> Table:
    """Return the confusion of all classes, as shares of the true class."""
    return _matrix(method, _confusion(results, method), results.classes)


def _count(value: int) -> Cell:
    return Cell(KeyedNumber(f"{value:,}", value))


def _confusion(results: Results, method: str) -> pd.DataFrame:
    return results.tables["confusion"].query("split == 'test' and method == @method").copy()


def _matrix(method: str, table: pd.DataFrame, names: list[str]) -> Table:
    counts = table.pivot_table("count", "true", "predicted", "sum", fill_value=0)
    counts = counts.reindex(index=names, columns=names, fill_value=0)
    rows = []
    for name in names:
        total = counts.loc[name].sum()
        cells = []
        for count in counts.loc[name]:
            share = float(count / total) if total else None
            text = MISSING if share is None else f"{100 * share:.0f}" if count else "·"
            cells.append(Cell(KeyedNumber(text, share), heat=share))
        rows.append(Row(name, "", cells))
    return Table(method, "true", names, rows, compact=True, method=method)


SPLIT = "test"
SHOWN = ("top1", "macro_f1")
RANKS_TITLE = "Consistency of the ranks on test, and tree distance of errors"
HEADS, SUMMED, GAINED = "", "summed_", "gained_"
TITLES = {
    HEADS: "{} on test by rank, each rank with its own head",
    SUMMED: "{} on test by rank, coarser ranks from summed probabilities",
    GAINED: "{} on test by rank: own head minus summed probabilities, points",
}


def section(scores: Scores) -> list[Table]:
    """Return the tables of the ranks; none if the target has no coarser rank."""
    ranks = scores.metrics["coarser_ranks"]
    if not ranks:
        return []
    tables = [
        table
        for metric in SHOWN
        for way in TITLES
        if (table := _by_rank(scores, ranks, metric, way)).rows
    ]
    return [*tables, of_methods(scores, SPLIT, columns_of("ranks", scores), RANKS_TITLE)]


def _by_rank(scores: Scores, ranks: list[str], metric: str, way: str) -> Table:
    """Return a table with a row for each method that has the metric and a column for each rank."""
    names = [f"{rank}_{way}{metric}" for rank in ranks]
    if way != GAINED:
        names.append(metric)
    rows = []
    for method in scores.methods:
        if scores.value(SPLIT, method, names[0])["mean"] is None:
            continue
        cells = [_cell(scores, method, name, sign=way == GAINED) for name in names]
        rows.append(Row(method, kind(scores, method), cells, method))
    label = metric_of(metric).label
    head = [*ranks, scores.metrics["target"]][: len(names)]
    title = TITLES[way].format(f"{label},{SPACE}%" if way != GAINED else label)
    return Table(title, "method", head, rows)


def _cell(scores: Scores, method: str, name: str, *, sign: bool) -> Cell:
    if not sign:
        return Cell(**measured(scores, SPLIT, method, name))
    value = scores.value(SPLIT, method, name)
    shown = keyed(name, value, scores.keys(SPLIT, method, name), sign=True)
    return Cell(**shown, strong=excludes_zero(value))
