"""The lineage diagram: stages from the raw data to the page as boxes, each with its output.

It shows digests of reproducible files and of code, but no times or machines, so that the page
itself is reproducible.
"""

from typing import NamedTuple

from tailproof.config.splits import SPLITS
from tailproof.config.sweep import WINNER
from tailproof.project import project_paths
from tailproof.report.keyed_number import KeyedNumber
from tailproof.report.results import Results
from tailproof.report.tables import Cell, Row, Table
from tailproof.runtime.records import Record
from tailproof.text import quantity

DIGITS = 12
OF_EXPERT = {
    "train": ("weights", "model.safetensors"),
    "infer": ("raw logits", "raw_logits/test.parquet"),
    "calibrate": ("calibrator", "calibration.json"),
    "export": ("logits", "logits/test.parquet"),
}


class Step(NamedTuple):
    """A stage as a box.

    Attributes:
        stage: name of the stage.
        writes: its output in words.
        files: {path below results/NAME: SHA-256}.
        code: digest of its code; empty for raw data.
    """

    stage: str
    writes: str
    files: dict[str, str]
    code: str

    @property
    def title(self) -> str:
        """The tooltip of the box."""
        files = [f"{path} {digest[:DIGITS]}" for path, digest in self.files.items()]
        return "\n".join([*files, f"code {self.code[:DIGITS]}"] if self.code else files)


class LineageDiagram(NamedTuple):
    """All steps, which the template lays out in rows.

    Attributes:
        before: the steps before the experts.
        experts: the steps of each shown expert.
        after: the steps after the experts.
        caption: the explanation below.
    """

    before: list[Step]
    experts: dict[str, list[Step]]
    after: list[Step]
    caption: str

    @classmethod
    def of(cls, results: Results) -> "LineageDiagram":
        """Read the steps from the records of an experiment."""
        source = results.experiment.data.source.name
        shards = [f"shard/{split}-{part:05d}" for split in SPLITS for part in _parts(results)]
        before = [
            Step("raw data", source, _files(results, ["prepare/prepare"], "raw.parquet"), ""),
            _step(results, "prepare", "samples", ["prepare/prepare"], "samples.parquet"),
            *_grouped(results),
            _step(results, "split", "six splits", ["split/split"], "splits.parquet"),
            _step(results, "shard", quantity(len(shards), "shard"), shards, ".parquet"),
        ]
        experts = {expert: _steps_of(results, expert) for expert in results.scores.shown_experts}
        metrics = _step(results, "evaluate", "metrics", ["evaluate/evaluate"], "metrics.json")
        after = [metrics, Step("report", "this page", {}, "")]
        return cls(before, experts, after, _caption(results))


def _steps_of(results: Results, expert: str) -> list[Step]:
    """Return the steps of an expert; those of a student begin with what it learns."""
    seeds = results.experiment.seeds
    steps = []
    if expert in results.experiment.students:
        taught = [f"teach/teacher-{seed}" for seed in seeds]
        steps = [_step(results, "teach", "answers to learn", taught, ".parquet")]
    for stage, (writes, file) in OF_EXPERT.items():
        rule = _rule(stage, expert)
        jobs = [f"{rule}/{expert}-{seed}" for seed in seeds]
        steps.append(_step(results, rule, writes, jobs, file))
    return steps


def digests(diagram: LineageDiagram) -> Table:
    """Return the digests of the diagram as a table, for readers without tooltips."""
    of_experts = [step for steps in diagram.experts.values() for step in steps]
    steps = [*diagram.before, *of_experts, *diagram.after]
    rows = [
        Row(
            path,
            step.stage,
            [Cell(KeyedNumber(digest[:DIGITS])), Cell(KeyedNumber(step.code[:DIGITS]))],
        )
        for step in steps
        for path, digest in step.files.items()
    ]
    return Table("Files and code", "file", ["SHA-256 of the file", "digest of the code"], rows)


def _grouped(results: Results) -> list[Step]:
    """Return the step that finds near duplicates, if the splits depend on it."""
    if results.experiment.data.near_duplicates != "group":
        return []
    job, file = "near_duplicates/near_duplicates", "near_duplicates/pairs.parquet"
    return [_step(results, "near_duplicates", "near duplicates", [job], file)]


def _caption(results: Results) -> str:
    shown, total = len(results.scores.shown_experts), len(results.scores.experts)
    rows = quantity(total, "expert") + (f", {shown} of them shown" if shown < total else "")
    return (
        f"Each box is a stage with its output; each row is an expert: {rows}, "
        f"{quantity(len(results.experiment.seeds), 'seed')} per expert. To see the digests of "
        "files and code, point at a box or open the list."
    )


def _rule(stage: str, expert: str) -> str:
    """Return the rule of a stage for an expert: the winner of a sweep is copied, not trained."""
    return "winner" if stage == "train" and expert == WINNER else stage


def _parts(results: Results) -> range:
    return range(results.experiment.data.shards_per_split)


def _step(results: Results, stage: str, writes: str, names: list[str], ending: str) -> Step:
    record: Record = results.records[names[0]]
    return Step(stage, writes, _files(results, names, ending), record.code.closure)


def _files(results: Results, names: list[str], ending: str) -> dict[str, str]:
    """Return {path: SHA-256} of the outputs of the jobs that have this ending."""
    start = f"{project_paths().experiment(results.name).as_posix()}/"
    return {
        file.path.removeprefix(start): file.sha256
        for name in names
        for file in results.records[name].outputs
        if file.path.endswith(ending)
    }
