"""The page's section on the taxonomic ranks: what is reached at each, and how far errors go."""

from tailproof.report.inputs import Scores
from tailproof.report.shown import keyed, measured
from tailproof.report.tables import Cell, Row, Table, of_methods
from tailproof.report.wording import SPACE, kind, metric_of

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
