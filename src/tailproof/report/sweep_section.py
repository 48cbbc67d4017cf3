"""The section on the sweep: a table of all points, and heat maps of a grid."""

from itertools import product
from typing import Any, NamedTuple

from tailproof.config.sweep import Sweep, short_names
from tailproof.digests import canonical_json
from tailproof.number_format import MISSING, format_number
from tailproof.report.keyed_number import KeyedNumber
from tailproof.report.metric_format import SPACE, form_of, monitored, spoken
from tailproof.report.tables import Cell, Row, Table
from tailproof.text import quantity

MAPPED_KEYS = (2, 3)


class Section(NamedTuple):
    """The content of the section.

    Attributes:
        words: the winner, and the range of all points.
        points: a table with a row for each point.
        axes: the rows and columns of the heat maps.
        maps: heat maps of a grid with two or three keys.
    """

    words: str
    points: Table
    axes: str
    maps: list[Table]


def section(sweep: Sweep, selection: dict[str, Any]) -> Section:
    """Return the section.

    Args:
        sweep: the configuration.
        selection: selection.json, its points in the order of the configuration.
    """
    keys = sweep.keys
    axes = (
        f"Rows: {keys[-2]}; columns: {keys[-1]}." if sweep.grid and len(keys) in MAPPED_KEYS else ""
    )
    return Section(_words(selection), _points(keys, selection), axes, _maps(sweep.grid, selection))


def _words(selection: dict[str, Any]) -> str:
    monitor, points = selection["monitor"], selection["points"]
    values = {point["point"]: point["value"] for point in points}
    defined = [value for value in values.values() if value is not None]
    low, high = (_number(monitor, end, unit=True) for end in (min(defined), max(defined)))
    name = selection["winner"]
    text = (
        f"The best of {quantity(len(points), 'point')} on val is {name}: {spoken(monitor)} "
        f"{_number(monitor, values[name], unit=True)} in its best epoch. All points lie between "
        f"{low} and {high}."
    )
    full = sum(each["rung"] == selection["rungs"] for each in points)
    if selection["rungs"] > 1:
        verb = "was" if full == 1 else "were"
        text += f" {full} of them {verb} trained in full, the others up to an earlier rung."
    return text + (
        " The winner is the expert 'winner' above. It was chosen on val, so its value there is "
        "optimistic; dev and test were not used."
    )


def _points(keys: list[str], selection: dict[str, Any]) -> Table:
    monitor = selection["monitor"]
    rows = []
    for each in selection["points"]:
        won = each["point"] == selection["winner"]
        cells = [Cell(KeyedNumber(_yaml_scalar(each["values"][key]))) for key in keys]
        sd = each["sd"]
        cells += [
            Cell(
                _shown(monitor, each["value"]),
                sd=None if sd is None else _shown(monitor, sd),
                strong=won,
            ),
            Cell(KeyedNumber(_epochs(each["best_epoch"]))),
            Cell(_shown("val_loss", each["val_loss"])),
            Cell(_shown(monitor, each["gap"], sign=True)),
            Cell(_shown("val_loss", each["lowest_val_loss"])),
            Cell(KeyedNumber(_epochs(each["lowest_val_loss_epoch"]))),
            Cell(KeyedNumber(_epochs(each["epochs"]))),
        ]
        rows.append(Row(each["point"], "winner" if won else "", cells))
    gap = "gap train − val" if monitored(monitor).higher_is_better else "gap val − train"
    head = [
        *short_names(keys).values(), _label(monitor), "best epoch", "loss there",
        f"{gap},{SPACE}points" if monitored(monitor).percent else gap,
        "lowest loss", "its epoch", "epochs trained",
    ]  # fmt: skip
    return Table("Points of the sweep, on val", "point", head, rows)


def _maps(grid: dict[str, list[Any]] | None, selection: dict[str, Any]) -> list[Table]:
    """Return a matrix of two keys; for three keys, one for each value of the first."""
    if not grid or len(grid) not in MAPPED_KEYS:
        return []
    values = [each["value"] for each in selection["points"]]
    by_place = dict(zip(product(*(range(len(v)) for v in grid.values())), values, strict=True))
    heats = _heats(selection["monitor"], values)
    *above, down, across = grid
    tables = []
    for outer in product(*(range(len(grid[key])) for key in above)):
        rows = []
        for row, value in enumerate(grid[down]):
            in_row = [by_place[*outer, row, column] for column in range(len(grid[across]))]
            cells = [Cell(_shown(selection["monitor"], v), heat=heats.get(v)) for v in in_row]
            rows.append(Row(_yaml_scalar(value), "", cells))
        title = _label(selection["monitor"])
        for key, place in zip(above, outer, strict=True):
            title += f"; {key} {_yaml_scalar(grid[key][place])}"
        tables.append(Table(title, "", [_yaml_scalar(v) for v in grid[across]], rows, compact=True))
    return tables


def _heats(monitor: str, values: list[float | None]) -> dict[float, float]:
    """Return the tint of the cell of each value: the best 1, the worst 0."""
    defined = [value for value in values if value is not None]
    low, span = min(defined), max(defined) - min(defined) or 1.0
    share = {value: (value - low) / span for value in defined}
    return share if monitored(monitor).higher_is_better else {v: 1 - s for v, s in share.items()}


def _label(monitor: str) -> str:
    return spoken(monitor) + (f",{SPACE}%" if monitored(monitor).percent else "")


def _number(name: str, value: float | None, *, sign: bool = False, unit: bool = False) -> str:
    metric = monitored(name)
    percent = unit and metric.percent and value is not None
    return format_number(value, form_of(metric, sign=sign)) + (f"{SPACE}%" if percent else "")


def _shown(name: str, value: float | None, *, sign: bool = False) -> KeyedNumber:
    return KeyedNumber(_number(name, value, sign=sign), value)


def _epochs(epochs: list[int | None]) -> str:
    """Write the epoch of each seed; one number if all are the same."""
    texts = [MISSING if epoch is None else str(epoch) for epoch in epochs]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _yaml_scalar(value: Any) -> str:
    """Write a configured value as in YAML."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else canonical_json(value)
