"""Matplotlib figures as inline SVG that follows the page's colours and fonts.

Charts are drawn in sentinel colours, which become CSS variables, so that one SVG serves light,
dark and print. The text stays text. A chart is `WIDTH` units wide and is shown at about that many
pixels, on a phone as on a desk, so its type is the size it was set in.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import NamedTuple

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 310
UNIT = 72  # SVG units an inch
INK, SOFT, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
BLUE, ORANGE, GREEN = "#050505", "#060606", "#070707"
VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    RULE: "--rule",
    PAPER: "--paper",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tailproof",
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "figure.facecolor": "none",
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.4,
    "legend.borderpad": 0,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}


class Chart(NamedTuple):
    """A drawn chart with its words."""

    title: str
    svg: Markup
    caption: str


def draw(
    name: str, title: str, caption: str, height: int, paint: Callable[[Figure], None]
) -> Chart:
    """Draw a chart.

    Args:
        name: unique on the page; identifiers within the SVG start with it.
        title: shown above.
        caption: shown below, and read to those who do not see the chart.
        height: in units.
        paint: fills the figure.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        # A script that the font lacks is only mismeasured: the reader's fonts write it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH / UNIT, height / UNIT), layout="constrained")
        paint(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return Chart(title, _inline(name, f"{title}. {caption}", file.getvalue()), caption)


def legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """Name the lines in a row above the axes."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, labelcolor=INK)


def _inline(name: str, words: str, svg: str) -> Markup:
    """Return matplotlib's file as an element: no prologue, own identifiers, the page's colours."""
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', body).group()
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = body[body.index(">") + 1 :]

    def adapt(tag: re.Match) -> str:
        text = re.sub(r' id="|href="#|url\(#', lambda m: f"{m.group()}{name}-", tag.group())
        for colour, variable in VARIABLES.items():
            text = text.replace(colour, f"var({variable})")
        return text

    body = re.sub(r"<[^>]+>", adapt, body)
    opening = Markup('<svg {} role="img" aria-label="{}">').format(Markup(box), words)  # noqa: S704
    return opening + Markup(re.sub(r"\n\s*", "\n", body).strip())  # noqa: S704 - text is escaped
