"""Runs jobs of an experiment again in a scratch project, and compares them with their records.

Sampled jobs read the recorded inputs, whose bytes are verified first. All jobs start from the raw
data. The project itself is only read.
"""

import math
import os
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow.csv as pacsv
import yaml

from tailproof.digests import sha256_files
from tailproof.files import write_text
from tailproof.project import CONFIG, STORES, Paths, project_paths
from tailproof.provenance.ancestors import ledgers_of_stores
from tailproof.provenance.numeric_distance import numeric_distance
from tailproof.provenance.snakemake_bridge import run
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger, read_ledger
from tailproof.runtime.records import File, Record, read_record
from tailproof.runtime.stages import TIMED
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

Verdict = Literal["same bytes", "same within the noise between seeds", "differs", "did not run"]

SAME: tuple[Verdict, ...] = ("same bytes", "same within the noise between seeds")

SCRATCH_RESULTS = "results"
"""The folder of results in the scratch project, which may be outside of the project itself."""

SUMMARY, DEVIATIONS = "summary.csv", 3.0
"""The table of an evaluation, and how far its means may move, in standard deviations over seeds."""

LEFT_OUT = ("audit", "cross_fit", "draws")
"""Stages that judge or pool other results."""


@dataclass(frozen=True)
class Reproduced:
    """The verdict on one job.

    Attributes:
        job: ``STAGE/NAME``.
        recorded: the record of the job.
        again: the record of the second run; None if it did not run.
        different: paths of outputs whose bytes differ, without those that hold times.
        why: a sentence for a job whose bytes differ, or that did not run.
    """

    job: str
    verdict: Verdict
    recorded: Record
    again: Record | None
    different: list[str] = field(default_factory=list)
    why: str = ""


@dataclass(frozen=True)
class Reproduction:
    """The verdicts on the jobs of an experiment that ran again.

    Attributes:
        of: number of jobs that the ledgers have.
        everything: whether all jobs ran again, from the raw data.
    """

    experiment: str
    jobs: list[Reproduced]
    of: int
    everything: bool

    @property
    def passed(self) -> bool:
        """Whether every job gave the same bytes, or the same numbers within the noise."""
        return all(job.verdict in SAME for job in self.jobs)


def reproduce(
    experiment: str,
    scratch: Path,
    *,
    number: int | None,
    seed: int = 0,
    against: str | None = None,
) -> Reproduction:
    """Run jobs again and compare their outputs with the records.

    Args:
        experiment: its name.
        scratch: a folder that does not exist yet, for the scratch project.
        number: how many jobs to draw; None runs all of them, from the raw data.
        seed: of the draw.
        against: the version of tailproof, or the start of the commit, whose jobs are drawn.
            Default: all.

    Raises:
        TailproofError: there are no records, an input of a drawn job does not have its recorded
            bytes, or Snakemake cannot read the workflow.
    """
    paths = project_paths()
    own = read_ledger(experiment)
    ledgers = [own, *ledgers_of_stores({file.path for record in own for file in record.inputs})]
    recorded = [record for ledger in ledgers for record in ledger if record.rule not in LEFT_OUT]
    if not recorded:
        raise TailproofError(
            f"{paths.provenance(experiment)} contains no records: run snakemake, or pull the "
            "records of an experiment that was run elsewhere"
        )
    candidates = recorded if against is None else _made_by(against, recorded)
    chosen = candidates if number is None else draw(candidates, number, seed)
    _make_project(scratch)
    if number is not None:
        _verify_inputs(chosen)
        _place_files(ledgers, chosen, scratch)
    targets = [str(_in_scratch(record.outputs[0].path)) for record in chosen]
    done = run(targets, "--rerun-triggers", "input", "--keep-going", folder=scratch)
    again = {_name(record): _second_record(record, scratch) for record in chosen}
    if not any(again.values()):
        raise TailproofError(f"no job ran: {(done.stdout + done.stderr).strip()}")
    jobs = [_judge(record, again[_name(record)], recorded, scratch) for record in chosen]
    return Reproduction(experiment, jobs, len(recorded), number is None)


def draw(records: Sequence[Record], number: int, seed: int) -> list[Record]:
    """Draw jobs, of as many stages as possible.

    Returns:
        the drawn records, in their order in `records`.
    """
    generator = random.Random(seed)
    by_stage: dict[str, list[Record]] = {}
    for record in records:
        by_stage.setdefault(record.rule, []).append(record)
    for jobs in by_stage.values():
        generator.shuffle(jobs)
    stages = list(by_stage)
    chosen: list[Record] = []
    while len(chosen) < min(number, len(records)):
        generator.shuffle(stages)
        for stage in stages:
            if by_stage[stage] and len(chosen) < number:
                chosen.append(by_stage[stage].pop())
    return sorted(chosen, key=records.index)


def _made_by(version: str, records: Iterable[Record]) -> list[Record]:
    records = list(records)
    made = [
        record
        for record in records
        if version == record.code.version or (record.code.commit or "").startswith(version)
    ]
    if not made:
        versions = sorted({record.code.version for record in records})
        raise TailproofError(
            f"no job was made by '{printable(version)}', expected a version or a commit: the "
            f"records have the {quantity(len(versions), 'version')} {listed(versions)}"
        )
    return made


def _verify_inputs(records: Iterable[Record]) -> None:
    files = {file.path: file for record in records for file in record.inputs}
    missing = [path for path in files if not Path(path).is_file()]
    there = [path for path in files if path not in missing]
    digests = dict(zip(there, sha256_files(there), strict=True))
    wrong = missing + [path for path in there if digests[path] != files[path].sha256]
    if wrong:
        raise TailproofError(
            f"{quantity(len(wrong), 'input')} of the drawn jobs "
            f"{'is' if len(wrong) == 1 else 'are'} missing or changed since; the first is "
            f"{wrong[0]}: run `dvc pull`, or use --all, which starts from the raw data"
        )


def _make_project(scratch: Path) -> None:
    """Make a project with the same workflow, configuration and raw data, and no results."""
    paths = project_paths()
    scratch.mkdir(parents=True)
    own = {Path(paths.results).parts[0], paths.logs, paths.states, *STORES}
    own |= {".snakemake", ".git", ".dvc", CONFIG.parts[0]}
    for entry in Path().iterdir():
        if entry.name not in own:
            (scratch / entry.name).symlink_to(entry.resolve())
    shutil.copytree(CONFIG.parent, scratch / CONFIG.parent, symlinks=True)
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    write_text(scratch / CONFIG, yaml.safe_dump(config | {"results": SCRATCH_RESULTS}))


def _place_files(ledgers: Iterable[Ledger], chosen: Sequence[Record], scratch: Path) -> None:
    """Link all recorded files into the scratch project, but for the outputs of the chosen jobs."""
    project_paths()
    left_out = {file.path for record in chosen for file in record.outputs}
    left_out |= {record.path for record in chosen}
    for ledger in ledgers:
        for path in [*ledger.files, *ledger.records]:
            if path not in left_out and Path(path).is_file():
                target = scratch / _in_scratch(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(Path(path), target)


def _link(path: Path, target: Path) -> None:
    """Link a file, or copy it to another disk. Stages replace files and never write into them."""
    try:
        os.link(path.resolve(), target)
    except OSError:
        shutil.copy2(path, target)


def _in_scratch(path: str) -> Path:
    """Return where a result of the project is in the scratch project, relative to it."""
    first, *below = project_paths().inside(path) or (path,)
    return Paths(results=SCRATCH_RESULTS).experiment(first).joinpath(*below)


def _name(record: Record) -> str:
    return f"{record.rule}/{record.name}"


def _second_record(record: Record, scratch: Path) -> Record | None:
    path = scratch / _in_scratch(record.path)
    return read_record(path) if path.is_file() else None


def _judge(
    record: Record,
    again: Record | None,
    siblings: Sequence[Record],
    scratch: Path,
) -> Reproduced:
    if again is None:
        return Reproduced(_name(record), "did not run", record, None, why=f"see {record.log}")
    different = _different(record, again)
    if not different:
        return Reproduced(_name(record), "same bytes", record, again)
    noisy, why = _within_noise(record, different, siblings, scratch)
    verdict: Verdict = "same within the noise between seeds" if noisy else "differs"
    return Reproduced(_name(record), verdict, record, again, different, why)


def _different(record: Record, again: Record) -> list[str]:
    now = {file.path: file.sha256 for file in again.outputs}
    return [
        file.path
        for file in record.outputs
        if Path(file.path).name not in TIMED
        and now.get(_in_scratch(file.path).as_posix()) != file.sha256
    ]


def _within_noise(
    record: Record,
    different: list[str],
    siblings: Sequence[Record],
    scratch: Path,
) -> tuple[bool, str]:
    """Compare each difference with that between this seed and the others, in the project."""
    spread = [path for path in different if Path(path).name == SUMMARY]
    if spread:
        return _within_spread(Path(spread[0]), scratch / _in_scratch(spread[0]))
    others = [
        other
        for other in siblings
        if other is not record
        and other.rule == record.rule
        and _without_seed(other) == _without_seed(record)
        and "seed" in record.wildcards
    ]
    if not others:
        return False, f"{listed(different[:3])}; there is no other seed to estimate the noise from"
    measured = []
    for path in different:
        old = Path(path)
        distance = _distance(old, scratch / _in_scratch(path))
        distances = (_distance(old, _same_file(record, other, path)) for other in others)
        between = [value for value in distances if value is not None]
        if distance is None or not between:
            continue
        if distance > max(between):
            return False, f"{path}: {distance:.3g} on average, {max(between):.3g} between seeds"
        measured.append(f"{path}: {distance:.3g} on average, {max(between):.3g} between seeds")
    if not measured:
        return False, f"{listed(different[:3])}; none of these has numbers to compare"
    return True, measured[0]


def _within_spread(old: Path, new: Path) -> tuple[bool, str]:
    """Compare the means over seeds of an evaluation with their standard deviation over seeds."""
    rows, again = (_summary(path) for path in (old, new))
    if rows.keys() != again.keys():
        return False, f"{old}: other metrics"
    moved = {
        key: _in_deviations(abs(mean - mean_again), sd)
        for key, row in rows.items()
        if (sd := row["sd"]) is not None
        and (mean := row["mean"]) is not None
        and (mean_again := again[key]["mean"]) is not None
    }
    if not moved:
        return False, f"{old}; a single seed is not enough to estimate the noise from"
    worst = max(moved, key=moved.__getitem__)
    why = f"{' '.join(worst)} moved by {moved[worst]:.2g} standard deviations over seeds"
    return moved[worst] <= DEVIATIONS, f"{old}: {why}"


def _in_deviations(distance: float, sd: float) -> float:
    """Return a distance in standard deviations; seeds that agree exactly have none."""
    if sd == 0:
        return math.inf if distance else 0.0
    return distance / sd


def _summary(path: Path) -> dict[tuple[str, ...], dict[str, float | None]]:
    rows = pacsv.read_csv(path).to_pylist()
    return {(row["split"], row["method"], row["metric"]): row for row in rows}


def _distance(one: Path, other: Path) -> float | None:
    if not one.is_file() or not other.is_file():
        return None
    return numeric_distance(one, other)


def _without_seed(record: Record) -> dict[str, str]:
    return {name: value for name, value in record.wildcards.items() if name != "seed"}


def _same_file(record: Record, other: Record, path: str) -> Path:
    """Return the output of another seed in the place of an output of a job."""
    places: list[File] = record.outputs
    place = next(number for number, file in enumerate(places) if file.path == path)
    return Path(other.outputs[place].path)
