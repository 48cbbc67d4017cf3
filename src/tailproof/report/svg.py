"""Matplotlib figures as inline SVG with the colours and fonts of the page.

Charts are drawn in placeholder colours, which become CSS variables: one SVG works on a light page,
on a dark page and on paper. Text stays text. A chart is `WIDTH` units wide and is displayed at
about as many pixels on every screen, so its fonts keep their size.

The SVG group of a line or row has attributes for the script of the page: `data-method`, to hide
it, and `data-points`, the values to show near the pointer. Without scripts the browser shows
`<title>`.
"""

import io
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from matplotlib.typing import RcKeyType

from tailproof.number_format import MINUS
from tailproof.report.metric_format import with_interval

WIDTH = 310
UNIT = 72  # SVG units per inch
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
STYLE: dict[RcKeyType, Any] = {
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
    """A chart with its title and caption.

    Attributes:
        title: the text above the chart.
        svg: the drawing.
        caption: the text below it.
        method: its expert or ensemble; empty if it shows several.
    """

    title: str
    svg: Markup
    caption: str
    method: str = ""


class Point(NamedTuple):
    """A value of a chart that the page shows near the pointer.

    Attributes:
        x: horizontal data coordinate.
        y: vertical data coordinate.
        at: the point in words, such as an epoch.
        value: the value in words.
    """

    x: float
    y: float
    at: str
    value: str


class _Mark(NamedTuple):
    artist: Artist
    method: str
    name: str
    points: list[Point]


class Drawing(Figure):
    """A figure whose lines and rows carry their method and values."""

    def __init__(self, height: int) -> None:
        super().__init__((WIDTH / UNIT, height / UNIT), dpi=UNIT, layout="constrained")
        self.marks: list[_Mark] = []

    def mark(
        self, artist: Artist, *, method: str = "", name: str = "", points: Iterable[Point] = ()
    ) -> None:
        """Attach a method, a name and values to an artist.

        Args:
            artist: a line, an area or a text; with points it must be in axes.
            method: its expert or ensemble, if it has one.
            name: name of the line or row.
            points: the values along it.
        """
        artist.set_gid(f"mark-{len(self.marks)}")
        self.marks.append(_Mark(artist, method, name, list(points)))


_drawn: ContextVar[bool] = ContextVar("drawn", default=True)


@contextmanager
def without_charts() -> Iterator[None]:
    """Leave out what `draw` would draw within the block."""
    token = _drawn.set(False)
    try:
        yield
    finally:
        _drawn.reset(token)


def draw(
    name: str,
    title: str,
    caption: str,
    height: int,
    paint: Callable[[Drawing], None],
    *,
    along: str = "",
    method: str = "",
) -> Chart:
    """Draw a chart.

    Args:
        name: unique on the page; the prefix of all identifiers in the SVG.
        title: the text above.
        caption: the text below, which screen readers read instead of the chart.
        height: height in units.
        paint: draws into the figure.
        along: x if the page shows all values at the same x together, as for curves; y likewise;
            empty if it shows values one by one.
        method: its expert or ensemble, if it has only one.
    """
    if not _drawn.get():
        return Chart(title, Markup("<svg></svg>"), caption, method)
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        # A missing glyph only makes the layout inexact: the browser has its own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Drawing(height)
        paint(figure)
        _lay_out(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = _annotated(name, figure, _inline(name, file.getvalue()))
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}. {}" data-along="{}">')
    words = opening.format(WIDTH, height, title, caption, along)
    return Chart(title, words + svg + Markup("</svg>"), caption, method)


def _lay_out(figure: Figure) -> None:
    """Place everything once; with a layout engine, `savefig` would draw the figure twice."""
    engine = figure.get_layout_engine()
    assert engine is not None  # see `Drawing`
    FigureCanvasSVG(figure)  # measures text as the file will show it
    engine.execute(figure)
    figure.set_layout_engine(None)


def legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """Add a legend in a row above the axes."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, labelcolor=INK)


def _inline(name: str, svg: str) -> str:
    """Return matplotlib's drawing with identifiers unique on the page and the page's colours."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)

    def adapt(tag: re.Match) -> str:
        text = re.sub(r' id="|href="#|url\(#', lambda m: f"{m.group()}{name}-", tag.group())
        for colour, variable in VARIABLES.items():
            text = text.replace(colour, f"var({variable})")
        return text

    return re.sub(r"\n\s*", "\n", re.sub(r"<[^>]+>", adapt, body)).strip()


def _annotated(name: str, figure: Drawing, svg: str) -> Markup:
    """Return the drawing with the methods and values of its marks instead of their identifiers."""

    def opening_tag(group: re.Match) -> str:
        mark = figure.marks[int(group[1])]
        tag = Markup("<g")
        if mark.method:
            tag += Markup(' data-method="{}"').format(mark.method)
        if mark.points:
            tag += Markup(' data-name="{}"').format(mark.name)
            tag += Markup(" data-points='{}'").format(_json(_placed(mark, figure)))
        return tag + Markup("><title>{}</title>").format(_title(mark))

    return Markup(re.sub(f'<g id="{re.escape(name)}-mark-([0-9]+)">', opening_tag, svg))  # noqa: S704 - escaped


def _title(mark: _Mark) -> str:
    if len(mark.points) == 1:
        return f"{mark.points[0].at}: {mark.points[0].value}"
    return mark.name or mark.method


def _json(value: Any) -> Markup:
    """Write JSON for an attribute in single quotes, so that double quotes need no escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;")):
        text = text.replace(character, escaped)
    return Markup(text)  # noqa: S704 - just escaped


def _placed(mark: _Mark, figure: Drawing) -> list[tuple[float, float, str, str]]:
    """Return the SVG positions and texts of the points inside the axes."""
    axes = mark.artist.axes
    assert axes is not None  # a mark with points is in axes
    places = axes.transData.transform([point[:2] for point in mark.points])
    inside = axes.bbox.padded(1)
    return [
        (round(float(x), 1), round(float(figure.bbox.height - y), 1), point.at, point.value)
        for (x, y), point in zip(places, mark.points, strict=True)
        if inside.contains(x, y)
    ]


def log_axis(axes: Axes, which: str) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 or at the powers of ten.

    Args:
        axes: axes with their limits set.
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
    """Write the number at a tick, with its sign if `sign`."""
    text = f"{value:+g}" if sign and value else f"{value:g}"
    return text.replace("-", MINUS)


def short(name: str, length: int = 18) -> str:
    """Shorten a long name in the middle; tables show it in full."""
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}…{name[half + 1 - length :]}"


def shares(
    curve: pd.DataFrame, x: str, y: str, words: Callable[[float], str], scale: float = 1
) -> list[Point]:
    """Return the points of a curve of shares, drawn in percent, with their intervals.

    Args:
        curve: a table with columns x, y, low and high, from 0 to 1.
        x: name of the column x.
        y: name of the column y.
        words: describes a value of x.
        scale: factor of x in the chart.
    """
    points = []
    for row in curve.dropna(subset=[y]).to_dict("records"):
        ends = {end: None if pd.isna(row[end]) else row[end] for end in ("low", "high")}
        value = with_interval("top1", {"mean": row[y], **ends})
        points.append(Point(scale * row[x], 100 * row[y], words(row[x]), value))
    return points
