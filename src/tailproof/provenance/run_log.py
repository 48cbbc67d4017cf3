"""The history of all training runs: current records, and earlier versions from git.

A job's record is overwritten when the job runs again. Records are committed, so git has every
earlier version.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tailproof.config.recipe import Recipe
from tailproof.digests import digest_of
from tailproof.project import project_paths
from tailproof.provenance.config_diff import Settings, defaults, settings
from tailproof.provenance.followed_advice import Finding, Followed, followed
from tailproof.runtime.git import ask_git
from tailproof.runtime.records import Record

RULES = ("train", "evaluate", "diagnose", "preflight")
AS_BLOBS = (
    "--full-history", "-m", "--no-renames", "--diff-filter=AM", "--format=", "--raw", "--no-abbrev",
)  # fmt: skip


@dataclass(frozen=True)
class RunEntry:
    """One training run.

    Attributes:
        record: record of the run's job.
        changes: (before, now) by setting; ``code`` and ``data`` are digests. None before means a
            new setting, None now a removed one.
        follows: name of the run that it is compared with; None for the first run of an expert,
            which is compared with the defaults of a recipe.
        tested: metrics of its expert on test, from the last evaluation before the next such run.
        findings: findings of the diagnosis of its history; None if it was not diagnosed yet.
        followed: recommendations for the previous run of the same seed that this run followed.
    """

    record: Record
    changes: dict[str, tuple[str | None, str | None]]
    follows: str | None
    tested: dict[str, float | None]
    findings: list[Finding] | None
    followed: list[Followed]

    @property
    def name(self) -> str:
        """Start time as ``YYYYMMDD_HHMMSS`` in UTC, with ``_jID`` for a Slurm job."""
        return _name(self.record)


@dataclass(frozen=True)
class Runs:
    """All training runs, and the newest evaluations.

    Attributes:
        by_experiment: runs of each experiment, newest first.
        evaluations: newest evaluation of each experiment.
        unreadable: number of record versions that this tailproof cannot read.
    """

    by_experiment: dict[str, list[RunEntry]]
    evaluations: dict[str, Record]
    unreadable: int


def read_runs(root: str | Path = ".") -> Runs:
    """Read the records of all training runs and evaluations, from disk and from git history.

    Args:
        root: the repository that contains results/.
    """
    texts = [*_here(Path(root)), *_in_git(Path(root))]
    parsed = [_parse(text) for text in dict.fromkeys(texts)]
    valid = (record for record in parsed if record)
    records = sorted(valid, key=lambda record: (record.started, record.path))
    by_experiment: dict[str, list[RunEntry]] = {}
    evaluations: dict[str, Record] = {}
    for experiment in sorted({record.experiment for record in records}):
        jobs = [record for record in records if record.experiment == experiment]
        tests = [record for record in jobs if record.rule == "evaluate"]
        by_experiment[experiment] = _runs(jobs, tests)
        evaluations |= {experiment: tests[-1]} if tests else {}
    trained = {name: runs for name, runs in by_experiment.items() if runs}
    return Runs(trained, evaluations, parsed.count(None))


def _runs(jobs: list[Record], evaluations: list[Record]) -> list[RunEntry]:
    """Return the runs of an experiment, newest first, from records sorted by start time."""
    before: dict[str, Record] = {}
    of_seed: dict[str, Record] = {}
    runs = []
    records = [record for record in jobs if record.rule == "train"]
    for record in records:
        expert = record.wildcards["expert"]
        previous = before.get(expert)
        base = _settings(previous) if previous else defaults(Recipe)
        now = _settings(record)
        if not previous:
            now = {key: text for key, text in now.items() if key not in ("code", "data")}
        later = [other for other in records if other.path == record.path]
        tested = _tested(record, later, evaluations)
        follows = _name(previous) if previous else None
        changes = _changes(base, now, bool(previous))
        findings = _diagnosis_findings(record, jobs)
        took = _followed(of_seed.get(record.path), record, jobs)
        runs.append(RunEntry(record, changes, follows, tested, findings, took))
        before[expert] = of_seed[record.path] = record
    return runs[::-1]


def _followed(earlier: Record | None, later: Record, jobs: list[Record]) -> list[Followed]:
    """Return the recommendations of diagnosis and preflight that the next run followed."""
    if earlier is None:
        return []
    changed = list(_changes(_settings(earlier), _settings(later), both_whole=True))
    return [
        advice
        for of in (_diagnosis_findings, _preflight_findings)
        for advice in followed(earlier, of(earlier, jobs) or [], later, of(later, jobs), changed)
    ]


def _diagnosis_findings(run: Record, jobs: list[Record]) -> list[Finding] | None:
    """Return the findings of the newest diagnosis of the history that a run wrote."""
    histories = [file for file in run.outputs if file.path.endswith("history.csv")]
    findings = None
    for record in jobs:
        if record.rule == "diagnose" and any(file in record.inputs for file in histories):
            findings = _recorded_findings(record)
    return findings


def _preflight_findings(run: Record, jobs: list[Record]) -> list[Finding] | None:
    """Return the findings about a run's expert from the newest preflight of the same recipe."""
    expert, recipe = run.wildcards["expert"], run.parameters.get("recipe")
    findings = None
    for record in jobs:
        if record.rule == "preflight" and record.parameters["recipes"].get(expert) == recipe:
            findings = [
                finding
                for finding in _recorded_findings(record) or []
                if expert in finding.get("experts", [expert])
            ]
    return findings


def _recorded_findings(record: Record) -> list[Finding] | None:
    """Return the findings in a record; None if an earlier version stored only their names."""
    findings = record.results.get("findings")
    complete = isinstance(findings, list) and all(isinstance(item, dict) for item in findings)
    return findings if complete else None


def _settings(record: Record) -> Settings:
    data = digest_of([file.sha256 for file in record.inputs])
    return {
        "code": record.code.closure,
        "data": data,
        **settings(record.parameters.get("recipe", {})),
    }


def _changes(
    base: Settings, now: Settings, both_whole: bool
) -> dict[str, tuple[str | None, str | None]]:
    """Return changed settings; removed ones only if `base` holds all settings of a run."""
    names = [*now, *(key for key in base if key not in now and both_whole)]
    return {key: (base.get(key), now.get(key)) for key in names if base.get(key) != now.get(key)}


def _tested(
    record: Record, same: list[Record], evaluations: Iterable[Record]
) -> dict[str, float | None]:
    """Return test metrics of the last evaluation after a run and before the next run."""
    ends = {one.seal: other.started for one, other in pairwise(same)}
    end = ends.get(record.seal)
    metrics: dict[str, Any] = {}
    for evaluation in evaluations:
        if evaluation.started >= record.ended and (end is None or evaluation.started < end):
            metrics = evaluation.results.get("test", {}).get(record.wildcards["expert"], metrics)
    return metrics


def _name(record: Record) -> str:
    job = record.machine.slurm_job
    return f"{record.started:%Y%m%d_%H%M%S}" + (f"_j{job}" if job else "")


def _parse(text: str) -> Record | None:
    """Return a record; None if it has another schema or was edited."""
    try:
        record = Record.model_validate_json(text)
    except ValidationError:
        return None
    return record if record.text() == text else None


def _here(root: Path) -> Iterator[str]:
    for rule in RULES:
        for path in sorted(root.glob(f"{project_paths(root).results}/*/provenance/{rule}/*.json")):
            yield path.read_text(encoding="utf-8", errors="replace")


def _in_git(root: Path) -> Iterator[str]:
    """Yield every version of the records in the history of HEAD."""
    results = project_paths(root).results
    patterns = [f":(glob){results}/*/provenance/{rule}/*.json" for rule in RULES]
    changed = ask_git(root, "log", *AS_BLOBS, "--", *patterns) or b""
    blobs = dict.fromkeys(line.split()[3] for line in changed.splitlines() if line)
    if not blobs:
        return
    listed = b"\n".join(blobs)
    stream = BytesIO(ask_git(root, "cat-file", "--batch", given=listed) or b"")
    while head := stream.readline():
        size = int(head.split()[2])
        yield stream.read(size).decode("utf-8", errors="replace")
        stream.readline()
