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

TOGETHER = ""
"""The name under which findings of all runs together stand."""


def diagnose_files(paths: list[str], config: str | None = None) -> dict[str, list[Finding]]:
    """Return findings by run, in the order of the files; those of all together last.

    Args:
        paths: histories; several TensorBoard files of one run are one history.
        config: an experiment's configuration, or a `RunConfig`.

    Raises:
        TailproofError: a file is no history, or the configuration is wrong.
    """
    facts = read_run_config(config) if config else None
    found, runs, target = {}, [], None
    for path, history in read_histories([Path(path) for path in paths]):
        context = context_of(facts, path)
        found[history.name] = diagnose(history, context)
        name, seed = _named(path, history.name)
        runs.append(DiagnosedRun.of(history, context.recipe, name, seed))
        target = target_of(context.targets, runs[-1].metric)
    if len(runs) > 1:
        found[TOGETHER] = compare(RunSet(runs, target))
    return found


def findings_as_dicts(found: dict[str, list[Finding]]) -> list[dict[str, Any]]:
    """Return the findings as plain values, each with the name of its run; null is all together."""
    return [
        {"run": name or None, **finding.to_jsonable()}
        for name, findings in found.items()
        for finding in findings
    ]


def _named(path: Path, name: str) -> tuple[str, int]:
    """Return expert and seed of a history that lies where tailproof puts it."""
    folder = path.resolve().parent
    seed = folder.name.removeprefix("seed-")
    if folder.name.startswith("seed-") and seed.isdigit():
        return folder.parent.name, int(seed)
    return name, 0
