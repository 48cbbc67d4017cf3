"""Every training run on the ledger: what is there now, and what git remembers of before.

A job's record is overwritten when the job runs again; records are committed, so that git holds
every version of them that was.
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
        record: of its job.
        changes: (before, now) by setting; ``code`` and ``data`` are digests. None before: the
            setting is new; None now: it is no more.
        follows: the name of the run that it is compared with; None where that is the recipe's
            defaults, since it is the first of its expert.
        tested: its expert's metrics on test, by the last evaluation before the next such run.
        findings: of its history, as the diagnosis has them; None while it has not been diagnosed.
        followed: recommendations on the run before it, of the same seed, that it took on.
    """

    record: Record
    changes: dict[str, tuple[str | None, str | None]]
    follows: str | None
    tested: dict[str, float | None]
    findings: list[Finding] | None
    followed: list[Followed]

    @property
    def name(self) -> str:
        """``YYYYMMDD_HHMMSS`` when it started, in UTC, and ``_jID`` of its Slurm job."""
        return _name(self.record)


@dataclass(frozen=True)
class Runs:
    """All runs.

    Attributes:
        by_experiment: newest first.
        evaluations: the newest of each experiment.
        unreadable: how many versions of records in git are none to this tailproof.
    """

    by_experiment: dict[str, list[RunEntry]]
    evaluations: dict[str, Record]
    unreadable: int


def read_runs(root: str | Path = ".") -> Runs:
    """Read the records of all training runs and evaluations, here and in git's history.

    Args:
        root: the repository, with results/ in it.
    """
    texts = [*_here(Path(root)), *_in_git(Path(root))]
    parsed = [_parse(text) for text in dict.fromkeys(texts)]
    records = sorted((each for each in parsed if each), key=lambda each: (each.started, each.path))
    found: dict[str, list[RunEntry]] = {}
    evaluations: dict[str, Record] = {}
    for experiment in sorted({record.experiment for record in records}):
        own = [record for record in records if record.experiment == experiment]
        tests = [record for record in own if record.rule == "evaluate"]
        found[experiment] = _runs(own, tests)
        evaluations |= {experiment: tests[-1]} if tests else {}
    return Runs(
        {name: runs for name, runs in found.items() if runs}, evaluations, parsed.count(None)
    )


def _runs(own: list[Record], evaluations: list[Record]) -> list[RunEntry]:
    """Return the runs of an experiment, newest first, from records in the order of starting."""
    before: dict[str, Record] = {}
    of_seed: dict[str, Record] = {}
    runs = []
    records = [record for record in own if record.rule == "train"]
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
        took = _followed(of_seed.get(record.path), record, own)
        runs.append(RunEntry(record, changes, follows, tested, _diagnosed(record, own), took))
        before[expert] = of_seed[record.path] = record
    return runs[::-1]


def _followed(earlier: Record | None, later: Record, own: list[Record]) -> list[Followed]:
    """Return the recommendations on a run, of diagnosis and preflight, that the next one took."""
    if earlier is None:
        return []
    changed = list(_changes(_settings(earlier), _settings(later), both_whole=True))
    return [
        each
        for found in (_diagnosed, _foretold)
        for each in followed(earlier, found(earlier, own) or [], later, found(later, own), changed)
    ]


def _diagnosed(run: Record, own: list[Record]) -> list[Finding] | None:
    """Return what the newest diagnosis found that read the history which a run wrote."""
    wrote = [file for file in run.outputs if file.path.endswith("history.csv")]
    found = None
    for record in own:
        if record.rule == "diagnose" and any(file in record.inputs for file in wrote):
            found = _told(record)
    return found


def _foretold(run: Record, own: list[Record]) -> list[Finding] | None:
    """Return what the newest preflight of a run's very recipe said of its expert."""
    expert, recipe = run.wildcards["expert"], run.parameters.get("recipe")
    found = None
    for record in own:
        if record.rule == "preflight" and record.parameters["recipes"].get(expert) == recipe:
            told = _told(record) or []
            found = [each for each in told if expert in each.get("experts", [expert])]
    return found


def _told(record: Record) -> list[Finding] | None:
    """Return the findings on record; None where an earlier version put but their names there."""
    found = record.results.get("findings")
    whole = isinstance(found, list) and all(isinstance(each, dict) for each in found)
    return found if whole else None


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
    """Return what differs; settings that are gone only where `base` is a whole run's."""
    names = [*now, *(key for key in base if key not in now and both_whole)]
    return {key: (base.get(key), now.get(key)) for key in names if base.get(key) != now.get(key)}


def _tested(
    record: Record, same: list[Record], evaluations: Iterable[Record]
) -> dict[str, float | None]:
    """Return what the last evaluation found that came after a run and before its successor."""
    ends = {one.seal: other.started for one, other in pairwise(same)}
    end = ends.get(record.seal)
    found: dict[str, Any] = {}
    for each in evaluations:
        if each.started >= record.ended and (end is None or each.started < end):
            found = each.results.get("test", {}).get(record.wildcards["expert"], found)
    return found


def _name(record: Record) -> str:
    job = record.machine.slurm_job
    return f"{record.started:%Y%m%d_%H%M%S}" + (f"_j{job}" if job else "")


def _parse(text: str) -> Record | None:
    """Return a record, None for what is none: of another schema, or edited."""
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
    """Yield every version of the records that the history of HEAD holds."""
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
