"""What several charts share: log axes, tick labels, names that fit."""

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from tailproof.core.numbers import MINUS


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
