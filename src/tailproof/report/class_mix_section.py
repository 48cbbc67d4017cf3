"""The section on other class mixes: accuracy on test from the training tail to its reverse."""

from tailproof.evaluation.class_mixes import GAINED, KNOWN, MIXES, PLAIN, UNIFORM
from tailproof.report.keyed_number import keyed
from tailproof.report.metric_format import SPACE, number
from tailproof.report.results import Scores
from tailproof.report.svg import BLUE, ORANGE, SOFT, Chart, Drawing, Point, draw, legend, short
from tailproof.report.tables import Cell, Row, Table

SPLIT = "test"
TITLES = {
    PLAIN: f"Top-1 accuracy on {SPLIT} by class mix, as it is,{SPACE}%",
    KNOWN: f"Top-1 accuracy on {SPLIT} by class mix, with the mix known,{SPACE}%",
}


def tables(scores: Scores) -> list[Table]:
    """Return a table without and one with the mix known; the best of a row is bold."""
    return [_table(scores, knowledge, title) for knowledge, title in TITLES.items()]


def _table(scores: Scores, knowledge: str, title: str) -> Table:
    measured = scores.metrics["class_mixes"][SPLIT]
    rows = []
    for mix in MIXES:
        best = max((measured[method][mix][knowledge]["mean"] or 0) for method in scores.methods)
        cells = []
        for method in scores.methods:
            value = measured[method][mix][knowledge]
            key = f"class_mixes.{SPLIT}.{method}.{mix}.{knowledge}"
            shown = keyed("top1", value, {field: f"{key}.{field}" for field in value})
            strong = len(scores.methods) > 1 and value["mean"] == best
            cells.append(Cell(**shown | {"sd": None}, strong=strong))
        rows.append(Row(mix, "", cells))
    return Table(title, "class mix", list(scores.methods), rows)


def chart(scores: Scores) -> Chart:
    """Draw the accuracy of the best method and the first over the mixes, unknown and known."""
    measured = scores.metrics["class_mixes"][SPLIT]
    lines = [(scores.best, PLAIN, BLUE, "-"), (scores.best, KNOWN, ORANGE, (0, (4, 1.5)))]
    if scores.first != scores.best:
        lines.append((scores.first, PLAIN, SOFT, (0, (1, 1.5))))
    ends = [measured[scores.best][mix][PLAIN]["mean"] for mix in (next(iter(MIXES)), UNIFORM)]
    gained = [mix for mix in MIXES if (measured[scores.best][mix][GAINED]["low"] or 0) > 0]
    caption = (
        f"{scores.best}: {number('top1', ends[0], unit=True)} at {next(iter(MIXES))}, "
        f"{number('top1', ends[1], unit=True)} at uniform. Knowing the mix helps beyond its "
        f"interval in {len(gained)} of {len(MIXES)} mixes."
    )

    def paint(figure: Drawing) -> None:
        axes = figure.subplots()
        for method, knowledge, colour, line in lines:
            means = [measured[method][mix][knowledge]["mean"] for mix in MIXES]
            label = f"{short(method, 16)}{', mix known' if knowledge == KNOWN else ''}"
            points = [
                Point(place, 100 * mean, mix, number("top1", mean, unit=True))
                for place, (mix, mean) in enumerate(zip(MIXES, means, strict=True))
                if mean is not None
            ]
            (curve,) = axes.plot(
                [point.x for point in points], [point.y for point in points], "o",
                color=colour, linestyle=line, markersize=4, label=label,
            )  # fmt: skip
            figure.mark(curve, method=method, name=label, points=points)
        names = [f"{ends:g}" if ends >= 1 else f"1/{1 / ends:g}" for ends in MIXES.values()]
        axes.set_xticks(range(len(MIXES)), names)
        axes.set_xlabel("share of the most over the least frequent class")
        axes.set_ylabel("top-1 accuracy, %")
        legend(figure, axes, 2)

    return draw("class-mixes", "Other class mixes", caption, 250, paint, along="x")
