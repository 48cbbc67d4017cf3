"""`tailproof diagnose`: files in, findings out."""

from pathlib import Path
from typing import Any

from tailproof.diagnosis.compare_runs import compare
from tailproof.diagnosis.detectors.missed_targets import target_of
from tailproof.diagnosis.diagnose import diagnose
from tailproof.diagnosis.finding import Finding
from tailproof.diagnosis.readers import read_histories
from tailproof.diagnosis.run_config import context_of, read_run_config
from tailproof.diagnosis.run_set import DiagnosedRun, RunSet

ALL_RUNS = ""
"""The key of the findings that compare all runs."""


def diagnose_files(paths: list[str], config: str | None = None) -> dict[str, list[Finding]]:
    """Return the findings by run, in the order of the files; the comparison of all runs is last.

    Args:
        paths: history files; several TensorBoard files of one run make one history.
        config: an experiment's configuration, or a `RunConfig`.

    Raises:
        TailproofError: a file is not a history, or the configuration is wrong.
    """
    run_config = read_run_config(config) if config else None
    findings, runs, target = {}, [], None
    for path, history in read_histories([Path(path) for path in paths]):
        context = context_of(run_config, path)
        findings[history.name] = diagnose(history, context)
        name, seed = _expert_and_seed(path, history.name)
        runs.append(DiagnosedRun.of(history, context.recipe, name, seed))
        target = target_of(context.targets, runs[-1].metric)
    if len(runs) > 1:
        findings[ALL_RUNS] = compare(RunSet(runs, target))
    return findings


def findings_as_dicts(findings_by_run: dict[str, list[Finding]]) -> list[dict[str, Any]]:
    """Return the findings as plain values with the name of the run; null means all runs."""
    return [
        {"run": name or None, **finding.to_jsonable()}
        for name, findings in findings_by_run.items()
        for finding in findings
    ]


def _expert_and_seed(path: Path, name: str) -> tuple[str, int]:
    """Return the expert and the seed of a history in a results folder of this project."""
    folder = path.resolve().parent
    seed = folder.name.removeprefix("seed-")
    if folder.name.startswith("seed-") and seed.isdigit():
        return folder.parent.name, int(seed)
    return name, 0
