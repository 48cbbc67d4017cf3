"""The way from the raw data to the page as a picture: stages as boxes, what they write in them.

Shown are digests of files that are the same whenever the same is computed, and of code; nothing
of times and machines, so that the page stays the same too.
"""

from typing import NamedTuple

from markupsafe import Markup, escape

from tailproof.config.splits import SPLITS
from tailproof.config.sweep import WINNER
from tailproof.report.keyed_number import KeyedNumber
from tailproof.report.results import Results
from tailproof.report.svg import WIDTH, Chart
from tailproof.report.tables import Cell, Row, Table
from tailproof.runtime.records import Record
from tailproof.text import quantity

DIGITS = 12
LEFT, BOX, GAP, HEIGHT = 17, 65, 8, 36
RISE = 18  # of an expert's name above its boxes
STEP = RISE + HEIGHT + 14
NAME = 44  # characters of an expert's name
OF_EXPERT = {
    "train": ("weights", "model.safetensors"),
    "infer": ("raw logits", "raw_logits/test.parquet"),
    "calibrate": ("temperature", "calibration.json"),
    "export": ("logits", "logits/test.parquet"),
}


class Step(NamedTuple):
    """A stage as a box.

    Attributes:
        stage: its word.
        writes: what comes out of it.
        files: {path below results/NAME: SHA-256}.
        code: digest of its code; empty for raw data.
    """

    stage: str
    writes: str
    files: dict[str, str]
    code: str

    @property
    def title(self) -> str:
        """What pointing at the box says."""
        files = [f"{path} {digest[:DIGITS]}" for path, digest in self.files.items()]
        return "\n".join([*files, f"code {self.code[:DIGITS]}"] if self.code else files)


class Way(NamedTuple):
    """All steps: those before the experts part, those of each expert, those after."""

    before: list[Step]
    experts: dict[str, list[Step]]
    after: list[Step]

    @classmethod
    def of(cls, results: Results) -> "Way":
        """Read the steps off the records of an experiment."""
        source = results.experiment.data.source.name
        shards = [f"shard/{split}-{part:05d}" for split in SPLITS for part in _parts(results)]
        before = [
            Step("raw data", source, _files(results, ["prepare/prepare"], "raw.parquet"), ""),
            _step(results, "prepare", "samples", ["prepare/prepare"], "samples.parquet"),
            _step(results, "split", "six splits", ["split/split"], "splits.parquet"),
            _step(results, "shard", quantity(len(shards), "shard"), shards, ".parquet"),
        ]
        experts = {
            expert: [
                _step(
                    results,
                    (rule := _rule(stage, expert)),
                    writes,
                    [f"{rule}/{expert}-{seed}" for seed in results.experiment.seeds],
                    file,
                )
                for stage, (writes, file) in OF_EXPERT.items()
            ]
            for expert in results.scores.shown_experts
        }
        metrics = _step(results, "evaluate", "metrics", ["evaluate/evaluate"], "metrics.json")
        return cls(before, experts, [metrics, Step("report", "this page", {}, "")])


def picture(results: Results) -> Chart:
    """Draw the way from the raw data to the page."""
    way = Way.of(results)
    shown, known = len(way.experts), len(results.scores.experts)
    rows = quantity(known, "expert") + (f", {shown} of them shown" if shown < known else "")
    caption = (
        f"Each box is a stage with what it writes; a row is an expert: {rows}, "
        f"{quantity(len(results.experiment.seeds), 'seed')} each. For the digests of files and "
        "code point at a box, or open the list."
    )
    top = HEIGHT + 14
    bottom = top + STEP * shown + 14
    drawn = [_row(way.before, 1), _bus(top, shown)]
    for index, (expert, steps) in enumerate(way.experts.items()):
        y = top + STEP * index + RISE
        label = expert if len(expert) <= NAME else f"{expert[: NAME - 1]}…"
        drawn.append(_text(LEFT, y - 5, label, "var(--ink)", 10.5))
        drawn.append(_row(steps, y))
    drawn.append(_row(way.after, bottom))
    words = f"From the raw data to this page in {4 + shown * len(OF_EXPERT) + 2} boxes. {caption}"
    svg = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, bottom + HEIGHT + 1, words, Markup("\n").join(drawn)
    )
    return Chart("From the raw data to this page", svg, caption)


def digests(results: Results) -> Table:
    """Return the digests of the files on the way, for those who cannot point at a box."""
    way = Way.of(results)
    steps = [*way.before, *(step for steps in way.experts.values() for step in steps), *way.after]
    rows = [
        Row(
            path,
            step.stage,
            [Cell(KeyedNumber(digest[:DIGITS])), Cell(KeyedNumber(step.code[:DIGITS]))],
        )
        for step in steps
        for path, digest in step.files.items()
    ]
    return Table("Files and code on the way", "file", ["SHA-256 of the file", "of the code"], rows)


def _rule(stage: str, expert: str) -> str:
    """Return the rule that does a stage for an expert: the sweep's winner is a copy."""
    return "winner" if stage == "train" and expert == WINNER else stage


def _parts(results: Results) -> range:
    return range(results.experiment.data.shards_per_split)


def _step(results: Results, stage: str, writes: str, names: list[str], ending: str) -> Step:
    record: Record = results.records[names[0]]
    return Step(stage, writes, _files(results, names, ending), record.code.closure)


def _files(results: Results, names: list[str], ending: str) -> dict[str, str]:
    """Return the digest of each file with that ending that the jobs made."""
    start = f"results/{results.name}/"
    return {
        file.path.removeprefix(start): file.sha256
        for name in names
        for file in results.records[name].outputs
        if file.path.endswith(ending)
    }


def _row(steps: list[Step], y: float) -> Markup:
    """Draw boxes with arrows between them."""
    drawn = []
    for index, step in enumerate(steps):
        x = LEFT + index * (BOX + GAP)
        if index:
            drawn.append(_arrow([(x - GAP, y + HEIGHT / 2), (x, y + HEIGHT / 2)]))
        box = Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="4" {}/>').format(
            x, y, BOX, HEIGHT, Markup('fill="var(--tint)" stroke="var(--soft)"')
        )
        middle = x + BOX / 2
        words = _text(middle, y + 15, step.stage, "var(--ink)", 10.5, "middle")
        words += _text(middle, y + 28, step.writes, "var(--soft)", 9.6, "middle")
        title = Markup("<title>{}</title>").format(step.title) if step.title else Markup()
        drawn.append(Markup("<g>{}{}{}</g>").format(title, box, words))
    return Markup("\n").join(drawn)


def _bus(top: float, rows: int) -> Markup:
    """Draw how the shards reach every row, and how every row's logits reach the evaluation."""
    edge = LEFT + 4 * BOX + 3 * GAP
    left, right = 4, edge + 6
    from_shards = edge - BOX / 2
    middles = [top + STEP * row + RISE + HEIGHT / 2 for row in range(rows)]
    end = top + STEP * rows + 14
    drawn = [_line([(from_shards, HEIGHT + 1), (from_shards, top - 5), (left, top - 5)])]
    drawn.append(_line([(left, top - 5), (left, middles[-1])]))
    drawn += [_arrow([(left, y), (LEFT, y)]) for y in middles]
    drawn += [_line([(edge, y), (right, y)]) for y in middles]
    drawn.append(
        _arrow(
            [(right, middles[0]), (right, end - 12), (LEFT + BOX / 2, end - 12),
             (LEFT + BOX / 2, end)]
        )
    )  # fmt: skip
    return Markup("\n").join(drawn)


def _line(points: list[tuple[float, float]]) -> Markup:
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return Markup('<polyline points="{}" fill="none" stroke="var(--soft)"/>').format(path)


def _arrow(points: list[tuple[float, float]]) -> Markup:
    (x0, y0), (x, y) = points[-2:]
    across = [(x - 5, y - 3), (x, y), (x - 5, y + 3)]
    down = [(x - 3, y - 5), (x, y), (x + 3, y - 5)]
    head = " ".join(f"{a:g},{b:g}" for a, b in (across if y0 == y and x > x0 else down))
    return _line(points) + Markup('<polygon points="{}" fill="var(--soft)"/>').format(head)


def _text(
    x: float, y: float, words: str, colour: str, size: float, anchor: str = "start"
) -> Markup:
    return Markup(
        '<text x="{:g}" y="{:g}" font-size="{}" text-anchor="{}" style="fill:{}">{}</text>'
    ).format(x, y, size, anchor, colour, escape(words))
