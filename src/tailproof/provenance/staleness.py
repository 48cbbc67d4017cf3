"""What changed since a job ran: its code, its parameters or its list of inputs.

The code digest itself is computed in `tailproof.runtime.code_digest`. Whether the content of an
input changed is decided by the audit, which hashes all files.
"""

from typing import Any

from tailproof.project import STORES, project_paths
from tailproof.provenance.snakemake_bridge import Job, plan
from tailproof.runtime.ledger import read_ledger
from tailproof.runtime.records import Record


def changed_jobs(experiment: str) -> dict[str, str]:
    """Return what changed in configuration or code since each finished job, by job.

    Jobs that fetched its weights or embedded its features are among them. No file is hashed.
    Everything made from the files of these jobs is stale too.

    Raises:
        TailproofError: Snakemake cannot read the workflow or the configuration.
    """
    changed = {}
    for job, record in finished_jobs(experiment):
        if changes := code_changes(record, job.code) + setting_changes(record, job):
            changed[f"{record.rule}/{record.name}"] = "; ".join(changes)
    return dict(sorted(changed.items()))


def finished_jobs(experiment: str) -> list[tuple[Job, Record]]:
    """Return the finished jobs that the page of an experiment depends on, with their records.

    Raises:
        TailproofError: Snakemake cannot read the workflow or the configuration.
    """
    makers: dict[str, Record] = {}
    for name in (experiment, *STORES):
        makers |= read_ledger(name).makers
    planned = plan(project_paths().page(experiment))
    return [(job, makers[job.outputs[0]]) for job in planned if job.outputs[0] in makers]


def code_changes(record: Record, code: str) -> list[str]:
    """Return a sentence if the stage's code digest is no longer the recorded one."""
    return [f"the code of {record.rule} changed"] * (record.code.closure != code)


def setting_changes(record: Record, job: Job) -> list[str]:
    """List the parameters and inputs of a planned job that differ from its record."""
    changes = _differences(record.parameters, job.parameters)
    recorded = {file.path for file in record.inputs}
    # Raw inputs are listed in raw.parquet, not in the record.
    planned = {path for path in job.inputs if record.rule != "prepare"}
    changes += [f"{path} is a new input" for path in sorted(planned - recorded)]
    changes += [f"{path} is no longer an input" for path in sorted(recorded - planned)]
    return changes


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """List each difference between two plain values, by its dotted key."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            difference
            for key in sorted(old.keys() | new.keys())
            for difference in _differences(
                old.get(key), new.get(key), f"{name}.{key}" if name else str(key)
            )
        ]
    return [] if old == new else [f"{name}: {old} became {new}"]
