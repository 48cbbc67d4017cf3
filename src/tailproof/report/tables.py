"""The page's tables as plain values; the template only lays them out."""

from typing import NamedTuple

import pandas as pd

from tailproof.config.splits import SPLITS
from tailproof.number_format import MINUS, MISSING
from tailproof.report.keyed_number import KeyedNumber, compared, keyed, measured
from tailproof.report.metric_format import SPACE, kind, metric_of
from tailproof.report.results import GROUPS, Results, Scores

MAIN = (
    "top1", "balanced_accuracy", "macro_f1", "nll", "brier", "ece_uncalibrated", "ece",
    "aurc_standard_chow",
)  # fmt: skip
OF_FEW_CLASSES = ("auroc_one_vs_rest",)
GROUP_METRICS = tuple(f"{group}_accuracy" for group in GROUPS)
LONG_TAILED = (
    "long_tail_top1", "long_tail_nll", "long_tail_ece_uncalibrated", "long_tail_ece",
    "long_tail_aurc_standard_chow",
)  # fmt: skip
RARE = (
    "auroc", "tpr_at_fpr_1e-2", "tpr_at_fpr_1e-3", "tpr_at_fpr_1e-4", "tpr_at_fpr_1e-5",
    "tpr_at_fpr_0", "fpr_at_tpr_0.85",
)  # fmt: skip
DIFFERENCES = ("balanced_accuracy", "top1", "few_accuracy", "nll", "ece")
RECALL = {"mean": "recall", "low": "recall_low", "high": "recall_high"}
PAIRS = 60
CLASS_ROWS = 100
CONFUSED_CLASSES = 20
PURPOSES = {
    "train": "training",
    "val": "validation between epochs",
    "calib": "temperatures",
    "tune": "ensemble weights, rejection rules",
    "dev": "choice of the method, sample pictures",
    "test": "the results, looked at once",
}


class Cell(NamedTuple):
    """One number of a table.

    Attributes:
        main: the number.
        low: of its interval, shown below it.
        high: of its interval.
        sd: shown beside it.
        strong: best of its column, or a difference whose interval leaves out zero.
        heat: 0 to 1, how strongly the cell is tinted.
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
        tag: a word beside it.
        cells: its numbers.
        method: the expert or ensemble that it is of, if of one.
    """

    label: str
    tag: str
    cells: list[Cell]
    method: str = ""


class Table(NamedTuple):
    """A table.

    Attributes:
        title: its caption.
        corner: heads the first column.
        head: heads the others.
        rows: each with one cell a heading.
        compact: whether cells are narrow, as in a matrix.
        method: the expert or ensemble that all of it is of, if of one.
    """

    title: str
    corner: str
    head: list[str]
    rows: list[Row]
    compact: bool = False
    method: str = ""


def of_methods(scores: Scores, split: str, metrics: tuple[str, ...], title: str) -> Table:
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
    return Table(title, "method", [_heading(name, metrics) for name in metrics], rows)


def _best(scores: Scores, split: str, name: str) -> float | None:
    """Return the best mean; none where a column holds one value or is no result."""
    means = [scores.value(split, method, name)["mean"] for method in scores.methods]
    known = [mean for mean in means if mean is not None]
    if len(known) < 2 or name.endswith("_uncalibrated"):
        return None
    return max(known) if metric_of(name).rising else min(known)


def _heading(name: str, beside: tuple[str, ...] = (), unit: str = "%") -> str:
    metric = metric_of(name)
    label = metric.label
    if name.endswith("_uncalibrated"):
        label = f"{label} before"
    elif f"{name}_uncalibrated" in beside:
        label = f"{label} after"
    return f"{label},{SPACE}{unit}" if metric.percent else label


def against_first(scores: Scores, split: str) -> Table:
    """Return every method less the first expert."""
    pairs = [(method, scores.first) for method in scores.methods if method != scores.first]
    table = _differences(scores, split, pairs, f"Difference to {scores.first} on {split}")
    rows = [
        row._replace(label=method, tag=kind(scores, method), method=method)
        for row, (method, _) in zip(table.rows, pairs, strict=True)
    ]
    return table._replace(corner="method", rows=rows)


def all_pairs(scores: Scores, split: str) -> Table:
    """Return every pair that evaluate compares, PAIRS at most."""
    pairs = [tuple(pair.split(" - ")) for pair in scores.metrics["paired"][split]][:PAIRS]
    return _differences(scores, split, pairs, f"All pairs on {split}")


def _differences(scores: Scores, split: str, pairs: list[tuple[str, str]], title: str) -> Table:
    rows = []
    for method, other in pairs:
        cells = []
        for name in DIFFERENCES:
            shown = compared(scores, split, method, other, name)
            low, high = shown["low"], shown["high"]
            cells.append(Cell(**shown, strong=bool(low) and (low.value > 0 or high.value < 0)))
        rows.append(Row(f"{method} {MINUS} {other}", "", cells))
    heads = [_heading(name, unit="points") for name in DIFFERENCES]
    return Table(title, "pair", heads, rows)


def split_sizes(results: Results) -> Table:
    """Return the six splits: samples, classes without one, what they are for."""
    counts = results.splits["class_counts"]
    rows = []
    for split in SPLITS:
        absent = sum(counts[name][split] == 0 for name in results.classes)
        cells = [_count(results.splits["splits"][split]), _count(absent)]
        rows.append(Row(split, PURPOSES[split], cells))
    return Table("The six splits", "split", ["samples", "classes without one"], rows)


def of_classes(results: Results) -> Table:
    """Return train count and recall on test of each class, CLASS_ROWS at most."""
    scores = results.scores
    methods = list(dict.fromkeys([scores.first, scores.best]))
    table = results.tables["per_class"].query("split == 'test'").set_index(["method", "class"])
    rows = []
    ordered = sorted(results.train_counts, key=lambda name: -results.train_counts[name])
    for name in ordered[:CLASS_ROWS]:
        cells = [_count(results.train_counts[name])]
        cells.append(_count(int(table.loc[(scores.best, name), "support"])))
        for method in methods:
            found = table.loc[(method, name)]
            recall = {
                field: None if pd.isna(found[column]) else float(found[column])
                for field, column in RECALL.items()
            }
            cells.append(Cell(**keyed("top1", recall)))
        rows.append(Row(name, results.groups[name], cells))
    head = ["in train", "in test", *(f"recall, {method}, %" for method in methods)]
    return Table("Recall of each class on test", "class", head, rows)


def at_coverages(results: Results) -> Table:
    """Return what the best method does on test with thresholds from tune."""
    scores = results.scores
    rows = []
    for coverage in sorted(results.experiment.evaluation.coverages):
        for rule, label in (
            ("chow", "Chow"), ("plugin_balanced", "plug-in, balanced"),
            ("plugin_worst", "plug-in, worst"),
        ):  # fmt: skip
            cells = []
            for what in ("coverage", "risk_standard", "risk_balanced", "risk_worst"):
                metric = f"{what}_{rule}_at_{coverage:g}"
                shown = measured(scores, "test", scores.best, metric, like="top1")
                cells.append(Cell(**shown | {"sd": None}))
            rows.append(Row(f"{100 * coverage:g} %", label, cells))
    head = ["answered, %", "error, %", "balanced error, %", "worst error, %"]
    return Table(f"{scores.best} on test, thresholds from tune", "coverage asked", head, rows)


def agreement(scores: Scores) -> Table:
    """Return how alike the shown experts' predictions on test are, pair by pair."""
    shown = set(scores.shown_experts)
    rows = []
    for pair, found in scores.metrics["agreement"]["test"].items():
        if set(pair.split(" / ")) <= shown:
            cells = []
            for name in ("agreement", "kappa", "exactly_one_right"):
                value = found["over_seeds"][name]
                key = f"agreement.test.{pair}.over_seeds.{name}"
                like = "nll" if name == "kappa" else "top1"
                numbers = keyed(like, value, {field: f"{key}.{field}" for field in value})
                cells.append(Cell(**numbers | {"sd": None}))
            rows.append(Row(pair, "", cells))
    head = ["same class, %", "Cohen's kappa", "exactly one right, %"]
    return Table("Agreement of the experts on test", "experts", head, rows)


def confusion_by_group(results: Results, method: str) -> Table:
    """Return how samples of many, medium and few are shared out over predicted groups."""
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
TREE = ("consistency", "consistency_summed", "tree_distance")
HEADS, SUMMED, GAINED = "", "summed_", "gained_"
TITLES = {
    HEADS: "{} on test by rank, each rank from a head of its own",
    SUMMED: "{} on test by rank, upper ranks from summed probabilities",
    GAINED: "{} on test by rank: head of its own less summed probabilities, points",
}


def section(scores: Scores) -> list[Table]:
    """Return the tables; none where the target has no coarser rank."""
    ranks = scores.metrics["coarser_ranks"]
    if not ranks:
        return []
    tables = [
        table
        for metric in SHOWN
        for way in TITLES
        if (table := _by_rank(scores, ranks, metric, way)).rows
    ]
    return [*tables, of_methods(scores, SPLIT, TREE, "Agreement of the ranks on test, and errors")]


def _by_rank(scores: Scores, ranks: list[str], metric: str, way: str) -> Table:
    """Return a row for each method that has the metric, a column for each rank."""
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
    value, keys = (read(SPLIT, method, name) for read in (scores.value, scores.keys))
    shown = keyed(name, value, keys, sign=True)
    ends = [shown[end].value for end in ("low", "high") if shown[end]]
    return Cell(**shown, strong=len(ends) == 2 and ends[0] * ends[1] > 0)
