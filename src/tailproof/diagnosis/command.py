"""`tailproof diagnose`: files in, findings and what was read out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailproof.diagnosis.compare_runs import compare
from tailproof.diagnosis.detectors.missed_targets import target_of
from tailproof.diagnosis.diagnose import diagnose
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.readers import Reading, read_histories
from tailproof.diagnosis.run_config import context_of, read_run_config
from tailproof.diagnosis.run_set import DiagnosedRun, RunSet

ALL_RUNS = ""
"""The key of the findings that compare all runs."""


@dataclass(frozen=True)
class Diagnosis:
    """What was read of each run, and what was found.

    Attributes:
        readings: the histories by run, in the order of the files.
        findings: the findings by run; the comparison of all runs is last.
    """

    readings: dict[str, Reading]
    findings: dict[str, list[Finding]]


def diagnose_files(
    paths: list[str], config: str | None = None, columns: str | None = None
) -> Diagnosis:
    """Return what histories say.

    Args:
        paths: files of histories, or folders that hold some.
        config: an experiment's configuration, or a `RunConfig`.
        columns: columns that the caller chose, such as ``val_auroc=val_auc,val_accuracy=acc``.

    Raises:
        TailproofError: a file is not a history, or the configuration is wrong.
    """
    run_config = read_run_config(config) if config else None
    readings, findings, runs, target = {}, {}, [], None
    for reading in read_histories([Path(path) for path in paths], columns):
        history = reading.history
        context = context_of(run_config, reading.path)
        readings[history.name] = reading
        findings[history.name] = diagnose(history, context)
        if reading.repeats:
            continue
        name, seed = _expert_and_seed(reading.path, history.name)
        runs.append(DiagnosedRun.of(history, context.recipe, name, seed))
        target = target_of(context.targets, runs[-1].metric)
    if len(runs) > 1:
        findings[ALL_RUNS] = compare(RunSet(runs, target))
    return Diagnosis(readings, findings)


def diagnosis_as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what was read and found as plain values; the run null means all runs."""
    return {
        "runs": [_reading_as_dict(reading) for reading in diagnosis.readings.values()],
        "findings": [
            {"run": name or None, **finding.to_jsonable()}
            for name, findings in diagnosis.findings.items()
            for finding in findings
        ],
    }


def _reading_as_dict(reading: Reading) -> dict[str, Any]:
    history = reading.history
    return {
        "run": history.name,
        "files": [str(path) for path in reading.files],
        "form": reading.form,
        "epochs": [int(history.epochs[0]), history.last],
        "rows": len(history.epochs),
        "columns": [
            {
                "name": column.name,
                "read_as": column.read_as or None,
                "unit": column.unit or None,
                "why": column.why or None,
                "judged": column.judged,
            }
            for column in reading.columns
        ],
        "passed_over": [
            {"reason": item.reason, "count": item.count, "examples": list(item.examples)}
            for item in reading.passed_over
        ],
        "notes": list(reading.notes),
        "not_judged": [column.name for column in reading.not_judged],
    }


def _expert_and_seed(path: Path, name: str) -> tuple[str, int]:
    """Return the expert and the seed of a history in a results folder of this project."""
    folder = path.resolve().parent
    seed = folder.name.removeprefix("seed-")
    if folder.name.startswith("seed-") and seed.isdigit():
        return folder.parent.name, int(seed)
    return name, 0
