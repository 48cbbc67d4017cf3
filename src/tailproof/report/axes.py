"""What several charts share: log axes, tick labels, names that fit, values to point at."""

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from tailproof.core.numbers import MINUS
from tailproof.report.drawing import Point
from tailproof.report.wording import with_interval


def log_axis(axes: Axes, which: str) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 or at the powers of ten.

    Args:
        axes: with its limits set.
        which: x or y.
    """
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    steps = (1, 2, 5) if high / low < 300 else (1,)
    axis.set_major_locator(
        FixedLocator([s * 10**p for p in range(-9, 10) for s in steps if low <= s * 10**p <= high])
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", length=0)


def tick(value: float, *, sign: bool) -> str:
    """Write the number at a tick, with its sign if wanted."""
    text = f"{value:+g}" if sign and value else f"{value:g}"
    return text.replace("-", MINUS)


def short(name: str, length: int = 18) -> str:
    """Cut the middle out of a long name; the full one is in the tables."""
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}…{name[half + 1 - length :]}"


def shares(
    curve: pd.DataFrame, x: str, y: str, words: Callable[[float], str], scale: float = 1
) -> list[Point]:
    """Return the points of a curve of shares, which is drawn in percent, with their intervals.

    Args:
        curve: with columns x, y, low and high, from 0 to 1.
        x: the column.
        y: the column.
        words: says in words where on x a value is.
        scale: what x is multiplied by in the chart.
    """
    points = []
    for each in curve.dropna(subset=[y]).to_dict("records"):
        ends = {end: None if pd.isna(each[end]) else each[end] for end in ("low", "high")}
        value = with_interval("top1", {"mean": each[y], **ends})
        points.append(Point(scale * each[x], 100 * each[y], words(each[x]), value))
    return points
