"""What must hold before an experiment's numbers are worth reading, and whether it does.

All is read off files: while training goes on, from its logs.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.config.splits import SPLITS
from tailproof.config.sweep import WINNER
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.detectors.missed_targets import Outcome, outcomes
from tailproof.diagnosis.history import History
from tailproof.diagnosis.readers import read_history
from tailproof.files import read_json
from tailproof.preflight.gate import blocking_findings, sentence
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Record, read_record
from tailproof.text import quantity

State = Literal["holds", "fails", "open"]
NAMED = 5  # runs by name in a sentence


class Criterion(NamedTuple):
    """One thing that must hold.

    Attributes:
        name: of it.
        state: open while nothing can be said yet.
        said: how far it has come, or what is wrong.
        details: sentences on it.
    """

    name: str
    state: State
    said: str
    details: tuple[str, ...] = ()


class Standing(NamedTuple):
    """How one run stands to a target."""

    run: str
    outcome: Outcome
    ended: bool


@dataclass(frozen=True)
class Progress:
    """An experiment as far as it has come.

    Attributes:
        experiment: its configuration.
        folder: results/NAME.
        logs: logs/NAME, for runs that have not ended; None where all have.
    """

    experiment: Experiment
    folder: Path
    logs: Path | None = None

    def criteria(self) -> list[Criterion]:
        """Return what must hold, in the order of the stages, up to the report.

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
        """Return whether the audit, which comes last, found that everything holds."""
        path = self.folder / "audit.json"
        if not path.exists():
            return Criterion("Audit", "open", f"not made yet: snakemake --cores all {path}")
        found = read_json(path)
        told = ", ".join(f"{count} {name}" for name, count in found["counts"].items() if count)
        return Criterion("Audit", "holds" if found["passed"] else "fails", told)

    def _data(self) -> Criterion:
        path = self.folder / "shards" / "manifest.json"
        if not path.exists():
            return Criterion("Data", "open", "not made yet")
        rows = sum(facts["rows"] for facts in read_json(path)["splits"].values())
        return Criterion("Data", "holds", f"{quantity(rows, 'sample')} in {len(SPLITS)} splits")

    def _preflight(self) -> Criterion:
        name, path = "Preflight", self.folder / "preflight.json"
        if not path.exists():
            return Criterion(name, "open", "not made yet")
        found = read_json(path)
        if set(found["experts"]) != set(self.experiment.experts | self.experiment.points):
            return Criterion(name, "open", "made for other experts than the configuration names")
        ignore = self.experiment.preflight.ignore
        wrong = blocking_findings(found["findings"], ignore)
        told = counted([each["severity"] for each in found["findings"]])
        accepted = [
            each["kind"]
            for each in found["findings"]
            if each["severity"] == "error" and each not in wrong
        ]
        if accepted:
            told += f", of which {', '.join(dict.fromkeys(accepted))} accepted"
        told += "; training does not start" if wrong else ""
        details = [each for each in found["findings"] if each["severity"] != "info"]
        return Criterion(name, "fails" if wrong else "holds", told, tuple(map(sentence, details)))

    def _trained(self) -> Criterion:
        runs = self._runs(self.experiment.trained)
        done = [run for run in runs if isinstance(self._records[_job("train", run)], Record)]
        under_way = [
            f"{_named(run)}: {quantity(history.done, 'epoch')} so far"
            for run in runs
            if run not in done and (history := self._log(run))
        ]
        told = f"{len(done)} of {quantity(len(runs), 'run')}"
        state = "holds" if len(done) == len(runs) else "open"
        return Criterion("Experts trained", state, told, tuple(under_way))

    def _targets(self) -> list[Criterion]:
        """Return a criterion for each target, over all runs."""
        found: dict[str, list[Standing]] = {}
        for run in self._runs(self.experiment.evaluated):
            path = self._file(run, "history.csv")
            ended = path.exists()
            history = read_history(path) if ended else self._log(run)
            context = Context(self._recipe(run[0]), targets=self.experiment.targets, ended=ended)
            for outcome in outcomes(history, context):
                found.setdefault(outcome.wanted, []).append(Standing(_named(run), outcome, ended))
        return [_target(wanted, standings) for wanted, standings in found.items()]

    def _calibrated(self) -> Criterion:
        runs = self._runs(self.experiment.evaluated)
        paths = [self._file(run, "calibration.json") for run in runs]
        found = [read_json(path) for path in paths if path.exists()]
        warnings = tuple(dict.fromkeys(each for one in found for each in one["warnings"]))
        told = f"{len(found)} of {len(runs)}"
        told += f", {quantity(len(warnings), 'warning')}" if warnings else ""
        state = "holds" if len(found) == len(runs) else "open"
        return Criterion("Temperatures found", state, told, warnings)

    def _exported(self) -> Criterion:
        """Compare the rows that each export wrote, as its record says, with the manifest's."""
        name, path = "Logits exported", self.folder / "shards" / "manifest.json"
        runs = self._runs(self.experiment.evaluated)
        files = len(SPLITS) * len(runs)
        if not path.exists():
            return Criterion(name, "open", f"0 of {quantity(files, 'file')}")
        due = {split: facts["rows"] for split, facts in read_json(path)["splits"].items()}
        whole, wrong = 0, []
        for run in runs:
            record = self._records[_job("export", run)]
            if not isinstance(record, Record):
                continue
            rows = record.results.get("rows", {})
            short = [split for split in SPLITS if rows.get(split) != due[split]]
            whole += len(SPLITS) - len(short)
            told = [f"{split} {rows.get(split, 'unknown')} of {due[split]}" for split in short]
            wrong += [f"{_named(run)}: rows of {', '.join(told)}"] * bool(told)
        told = f"{whole} of {quantity(files, 'file')} with all rows of their split"
        state = "fails" if wrong else "holds" if whole == files else "open"
        return Criterion(name, state, told, tuple(wrong))

    def _recorded(self) -> Criterion:
        there = [each for each in self._records.values() if isinstance(each, Record)]
        damaged = tuple(each for each in self._records.values() if isinstance(each, str))
        told = f"{len(there)} of {quantity(len(self._records), 'job')}"
        state = "fails" if damaged else "holds" if len(there) == len(self._records) else "open"
        return Criterion("Jobs on record", state, told, damaged)

    @cached_property
    def _records(self) -> dict[str, Record | str | None]:
        """The record of each job, why there is none that can be read, or None."""
        found: dict[str, Record | str | None] = {}
        for job in expected_jobs(self.experiment):
            path = self.folder / "provenance" / f"{job}.json"
            try:
                found[job] = read_record(path) if path.exists() else None
            except TailproofError:
                found[job] = f"{path} cannot be read as a record: `tailproof audit` says why"
        return found

    def _runs(self, experts: list[str]) -> list[tuple[str, int]]:
        return [(expert, seed) for expert in experts for seed in self.experiment.seeds]

    def _file(self, run: tuple[str, int], name: str) -> Path:
        return self.folder / "experts" / run[0] / f"seed-{run[1]}" / name

    def _log(self, run: tuple[str, int]) -> History | None:
        """Return the epochs of a run in progress, as far as its present attempt's log has them."""
        if self.logs is None:
            return None
        path = self.logs / "train" / f"{run[0]}-{run[1]}.log"
        try:
            return read_history(path)
        except TailproofError:
            return None  # no epoch has ended yet

    def _recipe(self, expert: str) -> Recipe | None:
        """Return an expert's recipe; None of a sweep's winner that is not chosen yet."""
        known = self.experiment.experts | self.experiment.points
        path = self.folder / "experts" / WINNER / "selection.json"
        if expert == WINNER and path.exists():
            expert = read_json(path)["winner"]
        return known.get(expert)


def counted(severities: list[str]) -> str:
    """Write how many errors and warnings there are among the severities of findings."""
    told = [
        quantity(count, severity)
        for severity in ("error", "warning")
        if (count := severities.count(severity))
    ]
    return " and ".join(told) or "no error and no warning"


def _job(rule: str, run: tuple[str, int]) -> str:
    return f"{rule}/{run[0]}-{run[1]}"


def _named(run: tuple[str, int]) -> str:
    return f"{run[0]}, seed {run[1]}"


def _target(wanted: str, standings: list[Standing]) -> Criterion:
    missed = [each for each in standings if each.outcome.short_by]
    known = [each for each in standings if each.outcome.value is not None]
    valueless = sum(each.ended and each not in known for each in standings)
    told = f"{len(known) - len(missed)} of {quantity(len(standings), 'run')}"
    if missed:
        named = "; ".join(f"{each.run} has {each.outcome.value:.4g}" for each in missed[:NAMED])
        more = f"; and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
        told += f"; missed: {named}{more}"
    elif known:
        values = [each.outcome.value for each in known]
        lowest = known[0].outcome.side == "at least"
        end = min(values) if lowest else max(values)
        told += f", {'lowest' if lowest else 'highest'} {end:.4g}"
    told += f"; no value in {valueless} that ended" if valueless else ""
    state = "fails" if missed else "holds" if len(known) == len(standings) else "open"
    return Criterion(f"Target: {wanted}", state, told)
