"""Audits an experiment: whether every artefact matches its record and still holds.

All files are hashed again. An artefact is proven if its bytes match its record, if Snakemake would
run its job today with the same inputs, parameters and code, and if the same is true for everything
upstream, down to the raw data, whose checksums are pinned in raw.parquet.
"""

import os
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.text import Text

from tailproof.digests import sha256_files
from tailproof.project import STORES, project_paths
from tailproof.provenance.attestation_files import FOLDER as ATTESTATION
from tailproof.provenance.attestation_files import JOBS, SIGNATURE
from tailproof.provenance.cross_checks import CrossChecks
from tailproof.provenance.raw_files import check_raw
from tailproof.provenance.snakemake_bridge import Job, plan
from tailproof.provenance.split_invariants import broken_invariants
from tailproof.provenance.staleness import code_changes, setting_changes
from tailproof.provenance.verdict import CodeChange, State, Verdict
from tailproof.runtime.code_digest import code_digest
from tailproof.runtime.environment import version_now
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.git import ask_git, why_unreadable
from tailproof.runtime.ledger import Ledger, experiment_of, read_ledger
from tailproof.runtime.records import Record
from tailproof.runtime.stages import BUNDLES, POOLED, script_of
from tailproof.text import quantity

DESCRIPTIONS = ("ro-crate-metadata.json", "croissant.json", "code", ".code", JOBS)
"""Files and folders of a crate and of statements about jobs, which no job makes."""


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        verdicts: one per artefact, records included, sorted by path.
        broken: sentences about violated invariants of the splits, and about files that contradict
            each other.
        notes: sentences about what could not be checked on this machine.
        uncommitted: a sentence about records that differ from git's last commit. It is not part
            of audit.json, which a commit must not change.
    """

    experiment: str
    verdicts: list[Verdict]
    broken: list[str]
    notes: list[str]
    uncommitted: list[str]

    @property
    def wrong(self) -> list[Verdict]:
        """Verdicts on all artefacts that are not proven."""
        return [verdict for verdict in self.verdicts if verdict.state != "proven"]

    @property
    def passed(self) -> bool:
        """Whether everything is proven and every invariant holds."""
        return not self.wrong and not self.broken

    def as_json(self) -> dict[str, Any]:
        """Return the content of audit.json: plain values, the same for the same files."""
        return {
            "experiment": self.experiment,
            "passed": self.passed,
            "counts": self.counts(),
            "broken": self.broken,
            "notes": self.notes,
            "artefacts": [asdict(verdict) for verdict in self.verdicts],
        }

    def counts(self) -> dict[str, int]:
        """Return the number of artefacts in each state."""
        counted = [verdict.state for verdict in self.verdicts]
        return {state: counted.count(state) for state in get_args(State)}


Recompute = Callable[[Ledger, Container[str]], tuple[list[str], list[str]]]
"""Computes proven results again; returns sentences about what differs and what was left out."""


def audit(
    experiment: str,
    *,
    all_images: bool = False,
    recompute: Recompute | None = None,
) -> Audit:
    """Audit an experiment in the working directory.

    Args:
        experiment: its name.
        all_images: whether the pixels of all images of train are compared, not only of some.
        recompute: computes results again and compares them, if all files are as recorded. Default:
            none is computed again.

    Raises:
        TailproofError: the experiment has no configuration or no results yet, or Snakemake cannot
            read the workflow.
    """
    folder = project_paths().experiment(experiment)
    ledger = read_ledger(experiment)
    page = folder / "report" / "index.html"
    pooled = [f"{stage}/metrics.json" for stage in POOLED]
    others = [folder / name for name in ("audit.json", "shortcuts.json", *pooled)]
    others += [
        Path(path) for path in ledger.files if Path(path).match(f"{BUNDLES}/*/*/bundle.json")
    ]
    targets = [path for path in others if path.exists()]
    if {record.rule for record in ledger} != {"cross_fit"}:  # its folds have pages of their own
        targets.insert(0, page)
    jobs = plan(*map(str, targets))
    files = _files(ledger)
    if not files:
        raise TailproofError(
            f"'{experiment}' has no results yet: run `snakemake --cores all {page}`"
        )
    judge = _Judge(ledger, jobs, files)
    verdicts = judge.verdicts()
    proven = {verdict.path for verdict in verdicts if verdict.state == "proven"}
    checks = CrossChecks(folder, ledger, proven, all_images=all_images)
    broken = [*broken_invariants(folder, ledger), *checks.contradictions()]
    notes = [*judge.notes, *judge.left_over(), *checks.notes]
    if recompute and not broken and len(proven) == len(verdicts):
        broken, left_out = recompute(ledger, proven)
        notes += left_out
    return Audit(experiment, verdicts, broken, notes, _uncommitted(ledger))


def audited_ledger(experiment: str) -> Ledger:
    """Return the ledger of an experiment whose audit passes.

    Raises:
        TailproofError: it does not pass; or see `audit`.
    """
    result = audit(experiment)
    if not result.passed:
        causes = [verdict for verdict in result.wrong if not verdict.after] or result.wrong
        problems = [f"{verdict.path} is {verdict.state}" for verdict in causes] + result.broken
        raise TailproofError(
            f"the audit of '{experiment}' fails ({problems[0]}"
            + (f", and {len(problems) - 1} more" if len(problems) > 1 else "")
            + f"): see `tailproof audit {experiment}`, and rebuild what is stale with "
            f"`snakemake --cores all {project_paths().page(experiment)}`"
        )
    return read_ledger(experiment)


def _uncommitted(ledger: Ledger) -> list[str]:
    """Return a sentence if records differ from git's last commit; none if git has no records."""
    if why := why_unreadable(Path()):
        return [f"the records were not compared with git's last commit: git cannot read it ({why})"]
    folder = str(project_paths().provenance(ledger.experiment))
    if not ask_git(Path(), "ls-tree", "-r", "--name-only", "HEAD", "--", folder):
        return []
    status = ("status", "--porcelain", "-z", "--no-renames", "-uall", "--", folder)
    listed = ask_git(Path(), *status) or b""
    changed = [entry[3:] for entry in listed.decode(errors="replace").split("\0") if entry]
    if not changed:
        return []
    return [
        f"{quantity(len(changed), 'record')} changed since git's last commit; the first is "
        f"{changed[0]}: `git status {folder}` lists them, and `git diff HEAD -- {folder}` shows "
        "the differences; commit them if you have run these jobs since"
    ]


class _Judge:
    """Judges each file by its own record and job, then by its inputs."""

    def __init__(self, ledger: Ledger, jobs: list[Job], files: set[str]) -> None:
        self.ledger, self.files = ledger, files
        self.planned = jobs
        ours = [job for job in jobs if experiment_of(job.outputs[0]) == ledger.experiment]
        self.jobs = {path: job for job in ours for path in job.outputs}
        read = [path for job in ours if job.rule == "prepare" for path in job.inputs]
        raw, self.notes = check_raw(ledger, read)
        self.now = _digests(files | _inputs(ledger))
        self.judged = {verdict.path: verdict for verdict in raw}
        for path, why in ledger.unreadable.items():
            self.judged[path] = Verdict(path, "altered", why.removeprefix(f"{path} "))
        self._of_others = cache(lambda name: _judge_of_other(name, jobs))

    def verdicts(self) -> list[Verdict]:
        for path in sorted(self.files | self.jobs.keys()):
            if not self._is_left_over(path):
                self.judge(path)
        return sorted(self.judged.values(), key=lambda verdict: verdict.path)

    def left_over(self) -> list[str]:
        """Report files of jobs that the experiment no longer has; they do not fail the audit."""
        files = [path for path in sorted(self.files) if self._is_left_over(path)]
        folders = sorted({str(Path(path).parent) for path in files if path in self.ledger.files})
        return [
            f"{quantity(len(files), 'file')} in {', '.join(folders)} "
            f"{'belongs' if len(files) == 1 else 'belong'} to jobs that are no longer part of the "
            "experiment: restore the jobs in the configuration, or delete the files and their "
            "records"
        ] * bool(files)

    def _is_left_over(self, path: str) -> bool:
        record = self.ledger.records.get(path) or self.ledger.makers.get(path)
        return record is not None and path not in self.jobs and self._could_be_planned(record)

    def judge(self, path: str) -> Verdict:
        """Return the verdict on a file of the experiment."""
        if path not in self.judged:
            self.judged[path] = Verdict(path, "proven")  # until judged: no job is its own input
            self.judged[path] = self._by_itself(path) or self._by_inputs(path)
        return self.judged[path]

    def _by_itself(self, path: str) -> Verdict | None:
        """Compare a file with its record, and the record with the currently planned job."""
        record = self.ledger.records.get(path) or self.ledger.makers.get(path)
        if path not in self.now:
            why = "recorded, but does not exist" if record else "not made yet"
            return Verdict(path, "missing", why)
        if record is None:
            return Verdict(path, "orphan", "no record lists it")
        if path in self.ledger.files and self.now[path] != self.ledger.files[path].sha256:
            return Verdict(
                path,
                "altered",
                f"SHA-256 {self.now[path][:12]}…, but {self.ledger.files[path].sha256[:12]}… in "
                "its record",
            )
        return self._by_job(path, record)

    def _by_job(self, path: str, record: Record) -> Verdict | None:
        """Compare the record of a file with the currently planned job."""
        job = self.jobs.get(path)
        variant = record.parameters.get("script", "")
        code = job.code if job else code_digest(script_of(record.rule, variant))
        edited = code_changes(record, code)
        others = setting_changes(record, job) if job else []
        if job and edited and not others:
            before = self._by_inputs(path)
            if before.state == "proven" or before.code_only:
                change = CodeChange(record.code.version, version_now())
                return Verdict(path, "stale", str(change), code_only=change)
        changes = edited + others
        return Verdict(path, "stale", "; ".join(changes)) if changes else None

    def _by_inputs(self, path: str) -> Verdict:
        """Judge a file that matches its record by its inputs."""
        record = self.ledger.records.get(path) or self.ledger.makers[path]
        verdicts = list(self._stale_by_inputs(path, record))
        # Changes of more than code come first.
        verdicts.sort(key=lambda verdict: verdict.code_only is not None)
        return verdicts[0] if verdicts else Verdict(path, "proven")

    def _stale_by_inputs(self, path: str, record: Record) -> Iterator[Verdict]:
        for file in record.inputs:
            before = self._before(file.path)
            if before is not None and before.state != "proven":
                origin = before.after or before.path
                why = f"made from {origin}, which is {before.state}"
                yield Verdict(path, "stale", why, origin, before.code_only)
            if self.now.get(file.path) != file.sha256:
                what = "was rebuilt since" if file.path in self.now else "no longer exists"
                yield Verdict(path, "stale", f"made from {file.path}, which {what}", file.path)
        for raw in self._raw(record):
            if raw.state != "proven":
                why = f"made from {raw.path}, which is {raw.state}"
                yield Verdict(path, "stale", why, raw.path)

    def _could_be_planned(self, record: Record) -> bool:
        """Return whether Snakemake can plan a job: it cannot without the job's raw data.

        An audit is planned only once audit.json exists.
        """
        outside = [file.path for file in record.inputs if experiment_of(file.path) is None]
        here = all(map(os.path.exists, outside)) and (record.rule != "prepare" or not self.notes)
        return here and record.rule != "audit"

    def _before(self, path: str) -> Verdict | None:
        """Return the verdict on an input that a job made, in this experiment or another."""
        experiment = experiment_of(path)
        if experiment is None:
            return None
        ours = experiment == self.ledger.experiment
        return (self if ours else self._of_others(experiment)).judge(path)

    def _is_ours(self, path: str) -> bool:
        return experiment_of(path) == self.ledger.experiment

    def _raw(self, record: Record) -> list[Verdict]:
        """Return the verdicts on raw data for the job that reads them, and none for others."""
        if record.rule != "prepare":
            return []
        return [verdict for path, verdict in self.judged.items() if not self._is_ours(path)]


def _judge_of_other(name: str, jobs: list[Job]) -> _Judge:
    """Return the judge of another experiment, or of those files of a store that the jobs read."""
    ledger = read_ledger(name)
    if name not in STORES:
        return _Judge(ledger, jobs, _files(ledger))
    read = {path for job in jobs for path in job.inputs if experiment_of(path) == name}
    ledger = ledger.of_files(read)
    files = {path for path in {*read, *ledger.files, *ledger.records} if Path(path).is_file()}
    return _Judge(ledger, jobs, files)


def _files(ledger: Ledger) -> set[str]:
    """Return the files of an experiment's results except descriptions and temporary files."""
    folder = project_paths().experiment(ledger.experiment)
    linked = {path for path in [*ledger.files, *ledger.records] if Path(path).is_file()}
    return linked | {
        path.as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and path.relative_to(folder).parts[0] not in DESCRIPTIONS
        and not _is_of_attestation(path.relative_to(folder).parts)
    }


def _is_of_attestation(parts: tuple[str, ...]) -> bool:
    """Return whether a file belongs to the attestation in an expert's folder."""
    return parts[0] == "experts" and parts[3:4] in ((ATTESTATION,), (SIGNATURE,))


def _inputs(ledger: Ledger) -> set[str]:
    return {file.path for record in ledger for file in record.inputs if Path(file.path).is_file()}


def _digests(paths: Iterable[str]) -> dict[str, str]:
    ordered = sorted(paths)
    return dict(zip(ordered, sha256_files(ordered), strict=True))


SENTENCES = 10

COLOURS = {
    "proven": "green",
    "stale": "yellow",
    "altered": "red",
    "orphan": "magenta",
    "missing": "red",
}


def print_audit(result: Audit, console: Console) -> None:
    """Print causes with their consequences, then broken invariants, notes and the counts."""
    for line in _lines(result):
        console.print(line, soft_wrap=True, highlight=False)


def _lines(result: Audit) -> Iterator[Text]:
    causes = [verdict for verdict in result.wrong if not verdict.after]
    shown = {verdict.path for verdict in causes}
    for cause in causes:
        yield _line(cause)
        yield from _consequences(result, cause.path)
    elsewhere = {verdict.after for verdict in result.wrong if verdict.after} - shown
    for path in sorted(elsewhere):
        yield Text.assemble(("changed   ", "yellow"), path)
        yield from _consequences(result, path)
    for sentence in result.broken[:SENTENCES]:
        yield Text.assemble(("broken    ", "red"), sentence)
    if len(result.broken) > SENTENCES:
        yield Text.assemble(("broken    ", "red"), f"and {len(result.broken) - SENTENCES} more")
    for sentence in [*result.notes, *result.uncommitted]:
        yield Text.assemble(("note      ", "cyan"), sentence)
    if any(verdict.state in ("altered", "missing") for verdict in causes):
        remedy = f"to rebuild, run `tailproof restore {result.experiment}`, then snakemake"
        yield Text.assemble(("note      ", "cyan"), remedy)
    if old := sum(verdict.code_only is not None for verdict in result.wrong):
        remedy = (
            f"{quantity(old, 'file')} {'is' if old == 1 else 'are'} stale only because the code "
            f"changed: check out the commit that made {'it' if old == 1 else 'them'}, or run "
            "snakemake"
        )
        yield Text.assemble(("note      ", "cyan"), remedy)
    counted = [f"{count} {state}" for state, count in result.counts().items() if count]
    holds = "holds" if result.passed else "does not hold"
    colour = "green" if result.passed else "red"
    yield Text.assemble(
        (f"{result.experiment} {holds}", f"bold {colour}"), ": ", ", ".join(counted)
    )


def _line(verdict: Verdict) -> Text:
    state = (f"{verdict.state:<10}", COLOURS[verdict.state])
    return Text.assemble(state, verdict.path, (f"  {verdict.why}", "dim"))


def _consequences(result: Audit, path: str) -> Iterator[Text]:
    after = [verdict.path for verdict in result.wrong if verdict.after == path]
    if after:
        verb = "depends" if len(after) == 1 else "depend"
        yield Text(f"          {len(after)} {verb} on it:")
        yield from (Text(f"            {name}") for name in after)
