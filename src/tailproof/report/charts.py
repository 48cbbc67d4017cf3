"""The result charts of the page. Each caption quotes values that the chart shows."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tailproof.evaluation.class_groups import GROUPS
from tailproof.evaluation.registry import metric_of
from tailproof.operating_points import ONE_IN
from tailproof.report.metric_format import RULE_LABELS, SPACE, listing, number, with_interval
from tailproof.report.results import Results, Value
from tailproof.report.svg import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    SOFT,
    Chart,
    Drawing,
    Point,
    draw,
    legend,
    log_axis,
    shares,
    short,
    tick,
)
from tailproof.text import quantity

DRAWN_CLASSES = 400
"""Classes in a chart at most, so that the page does not grow with them."""

NAMED_CLASSES = 30
LEAST = 0.8  # where the log axis of samples begins; classes without samples are there
SEEDS_QUOTED = 4
CUT = 0.4  # the axis of errors covers all values at this coverage and above
RISK_LABELS = {"standard": "error", "balanced": "balanced error", "worst": "worst-group error"}
GROUP_COLOURS = dict(zip(GROUPS, (BLUE, GREEN, ORANGE), strict=True))


def intervals(
    name: str,
    title: str,
    caption: str,
    metric: str,
    values: dict[str, Value],
    *,
    strong: str,
    axis: str,
    zero: bool = False,
) -> Chart:
    """Draw a value with its interval for each method, one below the other.

    Args:
        name: unique on the page.
        title: the text above the chart.
        caption: the text below it.
        metric: the metric, which sets the number format.
        values: {method: mean or difference, low, high}; undefined values are left out.
        strong: the method drawn in colour.
        axis: the axis label.
        zero: whether the values are differences: zero is marked, and numbers have signs.
    """
    middle = "difference" if zero else "mean"
    defined = {
        method: (value, middle_value)
        for method, value in values.items()
        if (middle_value := value[middle]) is not None
    }
    scale = 100 if metric_of(metric).percent else 1

    def paint(figure: Drawing) -> None:
        axes = figure.subplots()
        if zero:
            axes.axvline(0, color=SOFT, linewidth=1)
        for row, (method, (value, middle_value)) in enumerate(defined.items()):
            colour = BLUE if method == strong else SOFT
            if value["low"] is not None and value["high"] is not None:
                ends = [scale * value["low"], scale * value["high"]]
                (bar,) = axes.plot(
                    ends, [row, row], color=colour, linewidth=2, solid_capstyle="butt"
                )
                figure.mark(bar, method=method)
            (dot,) = axes.plot([scale * middle_value], [row], "o", color=colour, markersize=6)
            words = with_interval(metric, value, sign=zero)
            figure.mark(
                dot, method=method, points=[Point(scale * middle_value, row, method, words)]
            )
            text = number(metric, middle_value, sign=zero)
            right_of_axes = axes.get_yaxis_transform()
            figure.mark(
                axes.text(1.03, row, text, transform=right_of_axes, va="center", color=INK),
                method=method,
            )
        axes.set_yticks(range(len(defined)), [short(method) for method in defined])
        for label, method in zip(axes.get_yticklabels(), defined, strict=True):
            figure.mark(label, method=method)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(defined) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tick(x, sign=zero)))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        if scale == 100 and not zero:
            low, high = axes.get_xlim()
            axes.set_xlim(max(low, -1), min(high, 101))
        axes.set_xlabel(axis)

    return draw(name, title, caption, 52 + 21 * max(len(defined), 2), paint, along="y")


def class_profile(results: Results) -> Chart:
    """Draw the number of training samples of each class, largest first, on a log axis."""
    counts = dict(sorted(results.train_counts.items(), key=lambda item: -item[1]))
    names = list(counts)
    smallest = next(name for name in reversed(names) if counts[name])
    most, least = (f"{counts[name]:,} of '{name}'" for name in (names[0], smallest))
    members = list(results.groups.values())
    caption = (
        f"{quantity(sum(counts.values()), 'sample')} of {quantity(len(names), 'class', 'classes')} "
        f"in train, from {most} to {least}: imbalance ratio "
        f"{counts[names[0]] / counts[smallest]:.1f}. "
        f"Classes per group: {', '.join(f'{members.count(group)} {group}' for group in GROUPS)}."
        f"{_of_all(len(names), 'splits.json')}"
    )
    named = len(counts) <= NAMED_CLASSES
    height = 60 + 17 * len(counts) if named else 230

    def paint(figure: Drawing) -> None:
        axes = figure.subplots()
        if named:
            _bars(axes, counts, results.groups)
        else:
            _steps(figure, axes, counts, results.groups)
        legend(figure, axes)

    return draw("profile", "Training samples of each class", caption, height, paint, along="x")


def _bars(axes: Axes, counts: dict[str, int], groups: dict[str, str]) -> None:
    for group in GROUPS:
        rows = [row for row, name in enumerate(counts) if groups[name] == group]
        values = [list(counts.values())[row] for row in rows]
        if rows:
            axes.barh(rows, values, height=0.72, color=GROUP_COLOURS[group], label=group)
    for row, value in enumerate(counts.values()):
        axes.annotate(
            f"{value:,}",
            (max(value, LEAST), row),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=SOFT,
        )
    axes.set_yticks(range(len(counts)), [short(name) for name in counts])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(counts) - 0.4, -0.6)
    axes.set_xlim(LEAST, 1.9 * max(counts.values()))
    log_axis(axes, "x")
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("samples in train, log scale")


def _steps(figure: Drawing, axes: Axes, counts: dict[str, int], groups: dict[str, str]) -> None:
    every, names = len(counts), list(counts)
    place = drawn_of(every)
    values = np.array([counts[names[index]] for index in place])
    member = np.array([groups[names[index]] for index in place])
    for group in GROUPS:
        if (member == group).any():
            area = axes.fill_between(
                np.append(place, every),
                LEAST,
                np.append(np.where(member == group, values, LEAST), LEAST),
                step="post",
                color=GROUP_COLOURS[group],
                linewidth=0,
                label=group,
            )
            points = [
                Point(index + 0.5, counts[name], name, quantity(counts[name], "sample"))
                for index, name in ((index, names[index]) for index in place.tolist())
                if groups[name] == group
            ]
            figure.mark(area, name=group, points=points)
    axes.set_xlim(0, every)
    axes.set_ylim(LEAST, 1.5 * values.max())
    log_axis(axes, "y")
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("classes, largest first")
    axes.set_ylabel("samples in train")


def recalls(results: Results) -> Chart:
    """Draw the recall of each class on test against its number of training samples."""
    scores = results.scores
    table = results.tables["per_class"].query("split == 'test'")
    best = table[table["method"] == scores.best].dropna(subset=["recall"])
    lowest = best.loc[best["recall"].idxmin()]
    caption = (
        f"{scores.best}: the lowest recall is {number('top1', lowest['recall'], unit=True)}, for "
        f"'{lowest['class']}' with {quantity(int(lowest['train_count']), 'training sample')}; the "
        f"median over {quantity(len(best), 'class', 'classes')} is "
        f"{number('top1', best['recall'].median(), unit=True)}."
        f"{_of_all(len(best), 'per_class.csv')}"
    )
    best = _evenly(best)

    def paint(figure: Drawing) -> None:
        axes = figure.subplots()
        if scores.first != scores.best:
            first = _evenly(table[table["method"] == scores.first])
            (dots,) = axes.plot(
                first["train_count"], 100 * first["recall"], "s", color=ORANGE,
                markerfacecolor="none", label=short(scores.first),
            )  # fmt: skip
            _mark_recalls(figure, dots, scores.first, first)
        (dots,) = axes.plot(
            best["train_count"], 100 * best["recall"], "o", color=BLUE, markeredgecolor=PAPER,
            markersize=6, label=short(scores.best),
        )  # fmt: skip
        _mark_recalls(figure, dots, scores.best, best)
        axes.set_ylim(-3, 103)
        log_axis(axes, "x")
        axes.set_xlabel("samples in train, log scale")
        axes.set_ylabel("recall on test, %")
        legend(figure, axes, 2)

    return draw("recalls", "Recall of each class", caption, 240, paint)


def drawn_of(count: int) -> np.ndarray:
    """Return the positions of at most `DRAWN_CLASSES` of classes that are sorted by size.

    Half of them are the largest, so that a long tail keeps its head; the others are spread evenly.
    """
    if count <= DRAWN_CLASSES:
        return np.arange(count)
    half = DRAWN_CLASSES // 2
    return np.append(np.arange(half), np.linspace(half, count - 1, half).astype(int))


def _of_all(count: int, file: str) -> str:
    """Return the sentence of a chart that does not show all classes; empty if it does."""
    if count <= DRAWN_CLASSES:
        return ""
    return (
        f" {DRAWN_CLASSES} of {count:,} classes are drawn: the {DRAWN_CLASSES // 2} largest, and "
        f"the others evenly; {file} has all."
    )


def _evenly(classes: pd.DataFrame) -> pd.DataFrame:
    """Return the classes that a chart shows, from those with a recall."""
    if len(classes) <= DRAWN_CLASSES:
        return classes
    ordered = classes.sort_values("train_count", ascending=False, kind="stable")
    return ordered.iloc[drawn_of(len(ordered))]


def _mark_recalls(figure: Drawing, dots: Line2D, method: str, table: pd.DataFrame) -> None:
    points = [
        Point(
            each["train_count"],
            100 * each["recall"],
            f"{each['class']}, {each['train_count']:,} in train",
            number("top1", each["recall"], unit=True),
        )
        for each in table.dropna(subset=["recall"]).to_dict("records")
    ]
    figure.mark(dots, method=method, name=method, points=points)


def reliability(results: Results, method: str) -> Chart:
    """Draw the reliability diagram on test, before and after calibration."""
    scores = results.scores
    table = results.tables["reliability"].query("split == 'test' and method == @method")
    after = with_interval("ece", scores.value("test", method, "ece"))
    before = with_interval("ece", scores.value("test", method, "ece_uncalibrated"))
    caption = f"ECE {before} before, {after} after"
    if scores.is_ensemble(method):
        caption += "; before: the same ensemble of uncalibrated experts."
    else:
        fitted = [fit["temperature"] for fit in results.calibrations[method].values()]
        temperatures = ", ".join(f"{value:.2f}" for value in fitted)
        if len(fitted) > SEEDS_QUOTED:
            temperatures = f"{min(fitted):.2f} to {max(fitted):.2f} over {len(fitted)} seeds"
        caption += f"; temperature {temperatures}."

    def paint(figure: Drawing) -> None:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
        axes.plot([0, 100], [0, 100], color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
        for stage, colour, line, marker in (
            ("before", ORANGE, (0, (3, 2)), "s"),
            ("after", BLUE, "-", "o"),
        ):
            bins = table[(table["stage"] == stage) & (table["count"] > 0)]
            if len(bins):
                (curve,) = axes.plot(
                    100 * bins["confidence"], 100 * bins["accuracy"], color=colour, linestyle=line,
                    marker=marker, markeredgecolor=PAPER, markersize=6, label=stage, clip_on=False,
                )  # fmt: skip
                figure.mark(curve, name=stage, points=_bin_points(bins))
        bins = table[table["stage"] == "after"]
        share = 100 * bins["count"] / bins["count"].sum()
        width = 100 * (bins["upper"] - bins["lower"])
        below.bar(100 * bins["lower"], share, width, align="edge", color=BLUE, edgecolor=PAPER)
        below.set_ylabel("share, %")
        below.yaxis.set_major_locator(MaxNLocator(2))
        below.set_xlabel("confidence, %")
        axes.set(xlim=(0, 100), ylim=(0, 102), ylabel="accuracy, %")
        figure.align_ylabels()
        legend(figure, axes)

    return draw(f"reliability-{method}", method, caption, 300, paint, method=method)


def _bin_points(bins: pd.DataFrame) -> list[Point]:
    return [
        Point(
            100 * each["confidence"],
            100 * each["accuracy"],
            f"confidence {_percent(each['confidence'])}",
            f"accuracy {_percent(each['accuracy'])}, {quantity(each['count'], 'sample')}",
        )
        for each in bins.to_dict("records")
    ]


def risk_coverage(results: Results, risk: str, rule: str) -> Chart:
    """Draw the risk-coverage curves of the best method with Chow's and with a plug-in rule."""
    scores = results.scores
    table = results.tables["risk_coverage"].query(
        "split == 'test' and weighting == 'plain' and risk_kind == @risk"
    )
    best = table[table["method"] == scores.best]
    areas = {
        each: scores.value("test", scores.best, f"aurc_{risk}_{each}") for each in ("chow", rule)
    }
    caption = f"{scores.best} at 80 % coverage: " + "; ".join(
        f"{RULE_LABELS[each]} {_at_coverage(best, each, 0.8)} (area under the curve "
        f"{with_interval('aurc_standard_chow', value)})"
        for each, value in areas.items()
    )

    def paint(figure: Drawing) -> None:
        axes = figure.subplots()
        for each, colour, line in (("chow", BLUE, "-"), (rule, ORANGE, (0, (4, 1.5)))):
            curve = best[best["rule"] == each]
            x = 100 * curve["coverage"]
            band = axes.fill_between(
                x, 100 * curve["low"], 100 * curve["high"], color=colour, alpha=0.14, linewidth=0
            )
            figure.mark(band, method=scores.best)
            (drawn,) = axes.plot(
                x, 100 * curve["risk"], color=colour, linestyle=line, label=RULE_LABELS[each]
            )
            figure.mark(drawn, method=scores.best, name=RULE_LABELS[each], points=_risks(curve))
        if scores.first != scores.best:
            curve = table[(table["method"] == scores.first) & (table["rule"] == "chow")]
            (drawn,) = axes.plot(
                100 * curve["coverage"], 100 * curve["risk"], color=SOFT, linewidth=1.1,
                linestyle=(0, (1, 1.5)), label=f"{short(scores.first, 16)}, Chow",
            )  # fmt: skip
            name = f"{scores.first}, Chow"
            figure.mark(drawn, method=scores.first, name=name, points=_risks(curve))
        axes.set(xlim=(0, 100), xlabel="coverage, %", ylabel=f"{RISK_LABELS[risk]}, %")
        ending = table[
            (table["coverage"] >= CUT) & table["method"].isin([scores.best, scores.first])
        ]
        axes.set_ylim(0, max(1.0, 108 * ending[["risk", "high"]].max(axis=None)))
        legend(figure, axes, 2)

    title = RISK_LABELS[risk].capitalize()
    return draw(f"risk-{risk}", title, f"{caption}.", 250, paint, along="x")


def _risks(curve: pd.DataFrame) -> list[Point]:
    return shares(curve, "coverage", "risk", lambda each: f"coverage {100 * each:g}{SPACE}%", 100)


def _at_coverage(curves: pd.DataFrame, rule: str, coverage: float) -> str:
    there = curves[(curves["rule"] == rule) & np.isclose(curves["coverage"], coverage)]
    return _percent(there["risk"].iloc[0])


def _percent(value: float) -> str:
    return number("top1", None if pd.isna(value) else value, unit=True)


def low_fpr(results: Results) -> list[Chart]:
    """Draw the ROC curve of each shown method on test, with a logarithmic false-positive rate."""
    scores = results.scores
    table = results.tables["roc"].query("split == 'test'").dropna(subset=["tpr"])
    curves = {method: rows.sort_values("fpr") for method, rows in table.groupby("method")}
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
        low, high = (100 * curve[end].astype(float) for end in ("low", "high"))
        axes.fill_between(curve["fpr"], low, high, step="post", color=BLUE, alpha=0.14, linewidth=0)
        (line,) = axes.step(
            curve["fpr"], 100 * curve["tpr"], where="post", color=BLUE, label=short(method)
        )
        figure.mark(line, method=method, name=method, points=_points(curve))
        for rate, value in points.items():
            if value["low"] is not None and value["high"] is not None:
                axes.plot([rate] * 2, [100 * value["low"], 100 * value["high"]], color=BLUE)
            if (mean := value["mean"]) is not None:
                mean *= 100
                axes.plot([rate], [mean], "o", color=BLUE, markeredgecolor=PAPER, markersize=7)
        axes.set(xlim=(0.8 * curve["fpr"].min(), 1), ylim=(-2, 102))
        log_axis(axes, "x")
        axes.set_xlabel("false-positive rate, log scale")
        axes.set_ylabel("true-positive rate, %")
        legend(figure, axes, 2)

    caption = _caption(points)
    return draw(f"roc-{method}", method, caption, 230, paint, along="x", method=method)


def _caption(points: dict[float, Value]) -> str:
    if not points:
        return "Test has too few negatives for a false-positive rate of 0.01."
    rates = [
        f"{with_interval('tpr_at_fpr_1e-2', value)} at {rate:g}" for rate, value in points.items()
    ]
    return f"True-positive rate {listing(rates)}."


def _points(curve: pd.DataFrame) -> list[Point]:
    return shares(curve, "fpr", "tpr", "false-positive rate {:.2g}".format)
