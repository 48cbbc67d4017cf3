"""The training charts: every epoch of each seed, the phases, and the best epoch.

Restarts are not marked: an interrupted run produces exactly the same page as an uninterrupted one.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType

from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.files import write_text
from tailproof.history import History, to_csv
from tailproof.number_format import format_number
from tailproof.report.metric_format import SPACE, form_of, monitored, spoken
from tailproof.report.results import Results
from tailproof.report.svg import (
    BLUE,
    ORANGE,
    PAPER,
    SOFT,
    Chart,
    Drawing,
    Point,
    draw,
    legend,
    log_axis,
)

LOSS, RECALL = "val_loss", "val_balanced_accuracy"
SEEDS_QUOTED = 4


class _Seed(NamedTuple):
    """One seed of an expert: its history and its best epoch, None before the first value."""

    seed: int
    history: History
    best: int | None

    @classmethod
    def of(cls, seed: int, history: History, monitor: str) -> "_Seed":
        row = history.best(monitor) if monitor in history.columns else None
        return cls(seed, history, None if row is None else int(row["epoch"]))

    def values(self, column: str) -> dict[int, float]:
        """Return the finite values of a column by epoch."""
        return {
            int(row["epoch"]): row[column]
            for row in self.history.rows
            if math.isfinite(row.get(column, math.nan))
        }


def training(results: Results, expert: str) -> list[Chart]:
    """Draw an expert's loss, balanced accuracy and monitored metric, one line per seed."""
    return draw_training(expert, results.recipe(expert), results.histories[expert])


def draw_training(expert: str, recipe: Recipe, histories: Mapping[int, History]) -> list[Chart]:
    """Draw the charts of an expert whose runs may not have ended; see `training`.

    Args:
        expert: its name.
        recipe: its recipe.
        histories: the epochs of each seed so far.
    """
    seeds = [_Seed.of(seed, history, recipe.monitor) for seed, history in histories.items()]
    phases = _phases(recipe, seeds)
    captions = {LOSS: _loss_caption(seeds, phases, recipe), RECALL: ""}
    at_best = _quoted(seeds, recipe.monitor, lambda seed: seed.best)
    captions[recipe.monitor] = (
        f"{captions.get(recipe.monitor, '')} Best: {at_best}. Exported weights: "
        f"{recipe.export} epoch.".strip()
    )
    return [
        draw(
            f"{column}-{expert}",
            f"{expert}: {spoken(column)}",
            caption or f"In the best epoch: {_quoted(seeds, column, lambda seed: seed.best)}.",
            210,
            partial(_paint, seeds=seeds, phases=phases, column=column),
            along="x",
            method=expert,
        )
        for column, caption in captions.items()
    ]


def _quoted(seeds: list[_Seed], column: str, epoch_of: Callable[[_Seed], int | None]) -> str:
    values = [
        (seed.seed, epoch, seed.history.at(epoch).get(column, math.nan))
        for seed in seeds
        if (epoch := epoch_of(seed)) is not None
    ]
    if len(values) > SEEDS_QUOTED:
        numbers = [value for _, _, value in values]
        ends = (_written(column, value) for value in (min(numbers), max(numbers)))
        return f"{' to '.join(ends)} over {len(values)} seeds"
    quoted = [
        f"{_written(column, value)} in epoch {epoch} (seed {seed})" for seed, epoch, value in values
    ]
    return ", ".join(quoted) or "no epoch yet"


def _written(column: str, value: float) -> str:
    metric = monitored(column)
    text = format_number(value if math.isfinite(value) else None, form_of(metric))
    return f"{text}{SPACE}%" if metric.percent else text


def _loss_caption(seeds: list[_Seed], phases: list[tuple[int, str]], recipe: Recipe) -> str:
    last = _quoted(seeds, LOSS, lambda seed: int(seed.history.last["epoch"]))
    return (
        f"Validation loss of the last epoch: {last}. Dots mark the best epoch by {recipe.monitor}."
        + _phase_caption(phases)
    )


def _phase_caption(phases: list[tuple[int, str]]) -> str:
    texts = [f"{name} from epoch {epoch}" for epoch, name in phases]
    return f" Phases: {', '.join(texts)}." if texts else ""


def _paint(figure: Drawing, seeds: list[_Seed], phases: list[tuple[int, str]], column: str) -> None:
    axes = figure.subplots()
    metric = monitored(column)
    scale = 100 if metric.percent else 1
    parts: list[tuple[str, str, str, LineStyleType]] = [("val", column, BLUE, "-")]
    if column.startswith("val_"):
        parts.insert(0, ("train", column.replace("val_", "train_"), SOFT, (0, (3, 2))))
    for index, seed in enumerate(seeds):
        for part, part_column, colour, line in parts:
            if part_column not in seed.history.columns:  # some metrics are measured only on val
                continue
            values = seed.values(part_column)
            (curve,) = axes.plot(
                list(values), [scale * value for value in values.values()],
                color=colour, linestyle=line, linewidth=1.3,
                alpha=0.85, label=part if index == 0 else None,
            )  # fmt: skip
            name = part if len(seeds) == 1 else f"{part}, seed {seed.seed}"
            points = [
                Point(epoch, scale * value, f"epoch {epoch}", _written(column, value))
                for epoch, value in values.items()
            ]
            figure.mark(curve, name=name, points=points)
        at_best = None if seed.best is None else seed.values(column).get(seed.best)
        if seed.best is not None and at_best is not None:
            axes.plot(
                [seed.best], [scale * at_best], "o", color=ORANGE, zorder=3,
                markeredgecolor=PAPER, markersize=7, label="best epoch" if index == 0 else None,
            )  # fmt: skip
    if column == LOSS and any(value > 0 for seed in seeds for value in seed.values(LOSS).values()):
        log_axis(axes, "y")
    _mark_phases(axes, phases)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch")
    unit = ", log scale" if column == LOSS else f",{SPACE}%" if metric.percent else ""
    axes.set_ylabel(spoken(column) + unit)
    legend(figure, axes)


def _phases(recipe: Recipe, seeds: list[_Seed]) -> list[tuple[int, str]]:
    """Return the first epoch and the name of each phase that a seed reached; none for one phase."""
    if len(recipe.timeline) == 1:
        return []
    last = max(seed.history.last["epoch"] for seed in seeds)
    phases, previous_size = [], None
    for index, phase in enumerate(recipe.timeline, start=1):
        size = phase.image_size
        name = f"{size} px" if size and size != previous_size else f"phase {index}"
        phases.append((phase.from_epoch, name))
        previous_size = size
    return [(epoch, name) for epoch, name in phases if epoch <= last]


def _mark_phases(axes: Axes, phases: list[tuple[int, str]]) -> None:
    """Draw a line at the start of each later phase, and write the names above the axes."""
    for epoch, name in phases:
        if epoch > 1:
            axes.axvline(epoch - 0.5, color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.annotate(
            name, (max(epoch - 0.5, 1), 1), (0, 2), xycoords=axes.get_xaxis_transform(),
            textcoords="offset points", color=SOFT, fontsize=10,
        )  # fmt: skip


def write_curves(experiment: Experiment, results: str | Path, output: str | Path) -> None:
    """Write expert, seed and the columns of history.csv, one row per expert, seed and epoch."""
    columns, rows = dict.fromkeys(("expert", "seed")), list[dict[str, float | str]]()
    for expert in experiment.evaluated:
        for seed in experiment.seeds:
            path = Path(results, "experts", expert, f"seed-{seed}", "history.csv")
            history = History.read(path)
            columns |= dict.fromkeys(history.columns)
            rows += [{"expert": expert, "seed": seed, **row} for row in history.rows]
    write_text(output, to_csv(list(columns), rows))
