"""The checklist of an experiment: criteria that must hold before its numbers are worth reading.

All states come from files: during training, from the logs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.config.splits import CALIBRATED, SPLITS
from tailproof.config.sweep import WINNER
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.detectors.missed_targets import Outcome, outcomes
from tailproof.diagnosis.history import RunHistory
from tailproof.files import read_json
from tailproof.preflight.gate import blocking_findings, sentence
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.report.training_progress import read_training_log
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Record, read_record
from tailproof.text import quantity

State = Literal["holds", "fails", "open"]
SIGNS = {"holds": "✓", "fails": "✗", "open": "○"}
STATE_WORDS = {"holds": "holds", "fails": "fails", "open": "open"}
NAMED = 5  # runs by name in a sentence


class Criterion(NamedTuple):
    """One criterion of the checklist.

    Attributes:
        name: its name.
        state: open as long as it is undecided.
        summary: the progress, or the problem.
        details: further sentences.
    """

    name: str
    state: State
    summary: str
    details: tuple[str, ...] = ()


class Standing(NamedTuple):
    """The result of one run for a target."""

    run: str
    outcome: Outcome
    ended: bool


@dataclass(frozen=True)
class Progress:
    """The progress of an experiment.

    Attributes:
        experiment: its configuration.
        folder: results/NAME.
        logs: logs/NAME, for runs that have not ended; None where all have.
    """

    experiment: Experiment
    folder: Path
    logs: Path | None = None

    def criteria(self) -> list[Criterion]:
        """Return the criteria in the order of the stages, up to the report.

        Raises:
            TailproofError: a file is damaged.
        """
        return [
            self._data(),
            self._preflight(),
            self._trained(),
            *self._targets(),
            self._calibrated(),
            self._exported(),
            self._recorded(),
        ]

    def audited(self) -> Criterion:
        """Return whether the audit, the last stage, passed."""
        path = self.folder / "audit.json"
        if not path.exists():
            return Criterion("Audit", "open", f"not run yet: snakemake --cores all {path}")
        audit = read_json(path)
        counts = ", ".join(f"{count} {name}" for name, count in audit["counts"].items() if count)
        return Criterion("Audit", "holds" if audit["passed"] else "fails", counts)

    def _data(self) -> Criterion:
        path = self.folder / "shards" / "manifest.json"
        if not path.exists():
            return Criterion("Data", "open", "not sharded yet")
        rows = sum(facts["rows"] for facts in read_json(path)["splits"].values())
        return Criterion("Data", "holds", f"{quantity(rows, 'sample')} in {len(SPLITS)} splits")

    def _preflight(self) -> Criterion:
        name, path = "Preflight", self.folder / "preflight.json"
        if not path.exists():
            return Criterion(name, "open", "not run yet")
        preflight = read_json(path)
        if set(preflight["experts"]) != set(self.experiment.experts | self.experiment.points):
            return Criterion(name, "open", "ran with experts other than those in the configuration")
        ignore = self.experiment.preflight.ignore
        findings = preflight["findings"]
        blocking = blocking_findings(findings, ignore)
        summary = counted([finding["severity"] for finding in findings])
        ignored = [
            finding["kind"]
            for finding in findings
            if finding["severity"] == "error" and finding not in blocking
        ]
        if ignored:
            summary += f", ignored: {', '.join(dict.fromkeys(ignored))}"
        summary += "; training does not start" if blocking else ""
        serious = [sentence(finding) for finding in findings if finding["severity"] != "info"]
        return Criterion(name, "fails" if blocking else "holds", summary, tuple(serious))

    def _trained(self) -> Criterion:
        runs = self._runs(self.experiment.trained)
        done = [run for run in runs if isinstance(self._records[_job("train", run)], Record)]
        under_way = [
            f"{_named(run)}: {quantity(history.done, 'epoch')} so far"
            for run in runs
            if run not in done and (history := self._log(run))
        ]
        summary = f"{len(done)} of {quantity(len(runs), 'run')}"
        state: State = "holds" if len(done) == len(runs) else "open"
        return Criterion("Experts trained", state, summary, tuple(under_way))

    def _targets(self) -> list[Criterion]:
        """Return a criterion for each target, over all runs."""
        standings: dict[str, list[Standing]] = {}
        for run in self._runs(self.experiment.evaluated):
            path = self._file(run, "history.csv")
            ended = path.exists()
            history = RunHistory.read(path) if ended else self._log(run)
            context = Context(self._recipe(run[0]), targets=self.experiment.targets, ended=ended)
            for outcome in outcomes(history, context):
                standing = Standing(_named(run), outcome, ended)
                standings.setdefault(outcome.wanted, []).append(standing)
        return [_target(wanted, of_target) for wanted, of_target in standings.items()]

    def _calibrated(self) -> Criterion:
        runs = self._runs(self.experiment.evaluated)
        paths = [self._file(run, "calibration.json") for run in runs]
        calibrations = [read_json(path) for path in paths if path.exists()]
        warnings = tuple(dict.fromkeys(text for fit in calibrations for text in fit["warnings"]))
        summary = f"{len(calibrations)} of {quantity(len(runs), 'run')}"
        summary += f", {quantity(len(warnings), 'warning')}" if warnings else ""
        state: State = "holds" if len(calibrations) == len(runs) else "open"
        return Criterion("Calibrators fitted", state, summary, warnings)

    def _exported(self) -> Criterion:
        """Compare the rows in the record of each export with those of the manifest."""
        name, path = "Logits exported", self.folder / "shards" / "manifest.json"
        runs = self._runs(self.experiment.evaluated)
        files = len(CALIBRATED) * len(runs)
        if not path.exists():
            return Criterion(name, "open", f"0 of {quantity(files, 'file')}")
        expected = {split: facts["rows"] for split, facts in read_json(path)["splits"].items()}
        whole, wrong = 0, []
        for run in runs:
            record = self._records[_job("export", run)]
            if not isinstance(record, Record):
                continue
            rows = record.results.get("rows", {})
            short = [split for split in CALIBRATED if rows.get(split) != expected[split]]
            whole += len(CALIBRATED) - len(short)
            counts = [
                f"{split} {rows.get(split, 'unknown')} of {expected[split]}" for split in short
            ]
            wrong += [f"{_named(run)}: rows of {', '.join(counts)}"] * bool(counts)
        summary = f"{whole} of {quantity(files, 'file')} with all rows of their split"
        state: State = "fails" if wrong else "holds" if whole == files else "open"
        return Criterion(name, state, summary, tuple(wrong))

    def _recorded(self) -> Criterion:
        records = [record for record in self._records.values() if isinstance(record, Record)]
        damaged = tuple(error for error in self._records.values() if isinstance(error, str))
        summary = f"{len(records)} of {quantity(len(self._records), 'job')}"
        undecided: State = "holds" if len(records) == len(self._records) else "open"
        state: State = "fails" if damaged else undecided
        return Criterion("Jobs on record", state, summary, damaged)

    @cached_property
    def _records(self) -> dict[str, Record | str | None]:
        """The record of each job; a sentence if it is damaged, None if there is none yet."""
        records: dict[str, Record | str | None] = {}
        for job in expected_jobs(self.experiment):
            path = self.folder / "provenance" / f"{job}.json"
            try:
                records[job] = read_record(path) if path.exists() else None
            except TailproofError:
                records[job] = f"{path} cannot be read as a record: `tailproof audit` says why"
        return records

    def _runs(self, experts: list[str]) -> list[tuple[str, int]]:
        return [(expert, seed) for expert in experts for seed in self.experiment.seeds]

    def _file(self, run: tuple[str, int], name: str) -> Path:
        return self.folder / "experts" / run[0] / f"seed-{run[1]}" / name

    @cached_property
    def _log(self) -> Callable[[tuple[str, int]], RunHistory | None]:
        """Return the epochs of a run in progress; None before the end of the first one."""

        def read(run: tuple[str, int]) -> RunHistory | None:
            log = self.logs and read_training_log(self.logs, _job("train", run))
            return log.history(_named(run)) if log else None

        return cache(read)

    def _recipe(self, expert: str) -> Recipe | None:
        """Return an expert's recipe; None for the winner of a sweep that has not finished."""
        recipes = self.experiment.experts | self.experiment.points
        path = self.folder / "experts" / WINNER / "selection.json"
        if expert == WINNER and path.exists():
            expert = read_json(path)["winner"]
        return recipes.get(expert)


def counted(severities: list[str]) -> str:
    """Count the errors and warnings among the severities of findings."""
    counts = [
        quantity(count, severity)
        for severity in ("error", "warning")
        if (count := severities.count(severity))
    ]
    return " and ".join(counts) or "no errors or warnings"


def _job(rule: str, run: tuple[str, int]) -> str:
    return f"{rule}/{run[0]}-{run[1]}"


def _named(run: tuple[str, int]) -> str:
    return f"{run[0]}, seed {run[1]}"


def _target(wanted: str, standings: list[Standing]) -> Criterion:
    missed = [standing for standing in standings if standing.outcome.short_by]
    reached = [standing for standing in standings if standing.outcome.value is not None]
    valueless = sum(standing.ended and standing not in reached for standing in standings)
    summary = f"{len(reached) - len(missed)} of {quantity(len(standings), 'run')}"
    if missed:
        named = "; ".join(f"{run.run} has {run.outcome.value:.4g}" for run in missed[:NAMED])
        more = f"; and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
        summary += f"; missed: {named}{more}"
    elif reached:
        outcomes = [standing.outcome.value for standing in reached]
        values = [value for value in outcomes if value is not None]
        lowest = reached[0].outcome.side == "at least"
        end = min(values) if lowest else max(values)
        summary += f", {'lowest' if lowest else 'highest'} {end:.4g}"
    summary += f"; no value in {quantity(valueless, 'finished run')}" if valueless else ""
    undecided: State = "holds" if len(reached) == len(standings) else "open"
    state: State = "fails" if missed else undecided
    return Criterion(f"Target: {wanted}", state, summary)
