"""The charts of a rare class: how much of it is found at low false-positive rates."""

import pandas as pd

from tailproof.core.operating_points import ONE_IN
from tailproof.report.axes import log_axis, shares, short
from tailproof.report.drawing import BLUE, PAPER, SOFT, Chart, Drawing, Point, draw, legend
from tailproof.report.inputs import Results, Value
from tailproof.report.wording import listing, with_interval


def low_fpr(results: Results) -> list[Chart]:
    """Draw for each shown method the share that it finds on test, over a log axis of rates."""
    scores = results.scores
    table = results.tables["roc"].query("split == 'test'").dropna(subset=["tpr"])
    curves = {method: own.sort_values("fpr") for method, own in table.groupby("method")}
    return [
        _chart(results, method, curves[method], curves[scores.first])
        for method in scores.shown_methods
        if method in curves
    ]


def _chart(results: Results, method: str, curve: pd.DataFrame, reference: pd.DataFrame) -> Chart:
    values = {
        1 / one_in: results.scores.value("test", method, name) for name, one_in in ONE_IN.items()
    }
    points = {rate: value for rate, value in values.items() if value["mean"] is not None}
    first = results.scores.first

    def paint(figure: Drawing) -> None:
        axes = figure.subplots()
        if method != first:
            (line,) = axes.step(
                reference["fpr"], 100 * reference["tpr"], where="post", color=SOFT, linewidth=1.1,
                linestyle=(0, (1, 1.5)), label=short(first),
            )  # fmt: skip
            figure.mark(line, method=first, name=first, points=_points(reference))
        ends = [100 * curve[end].astype(float) for end in ("low", "high")]
        axes.fill_between(curve["fpr"], *ends, step="post", color=BLUE, alpha=0.14, linewidth=0)
        (line,) = axes.step(
            curve["fpr"], 100 * curve["tpr"], where="post", color=BLUE, label=short(method)
        )
        figure.mark(line, method=method, name=method, points=_points(curve))
        for rate, value in points.items():
            if value["low"] is not None:
                axes.plot([rate] * 2, [100 * value["low"], 100 * value["high"]], color=BLUE)
            axes.plot(
                [rate], [100 * value["mean"]], "o", color=BLUE, markeredgecolor=PAPER, markersize=7
            )
        axes.set(xlim=(0.8 * curve["fpr"].min(), 1), ylim=(-2, 102))
        log_axis(axes, "x")
        axes.set_xlabel("false-positive rate, log scale")
        axes.set_ylabel("found, %")
        legend(figure, axes, 2)

    caption = _caption(points)
    return draw(f"roc-{method}", method, caption, 230, paint, along="x", method=method)


def _caption(points: dict[float, Value]) -> str:
    if not points:
        return "Test has too few negatives for a false-positive rate of 0.01."
    told = [
        f"{with_interval('tpr_at_fpr_1e-2', value)} at {rate:g}" for rate, value in points.items()
    ]
    return f"Found: {listing(told)}."


def _points(curve: pd.DataFrame) -> list[Point]:
    return shares(curve, "fpr", "tpr", "false-positive rate {:.2g}".format)
