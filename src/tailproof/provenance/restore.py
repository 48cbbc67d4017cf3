"""Restores Snakemake's metadata from the ledger: in a clone, after a pull or a checkout.

Snakemake stores the parameters and inputs of each output in ``.snakemake``, which a clone does not
have, and compares file times, which are all new in a clone. Both are restored from the records. A
file that has the recorded bytes gets the metadata of its record, so that Snakemake runs its job
again only if the parameters or the code have changed. Any other file is marked to be rebuilt.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tailproof.digests import sha256_files
from tailproof.project import project_paths
from tailproof.provenance.ancestors import ledgers_of_stores
from tailproof.provenance.raw_files import check_raw
from tailproof.provenance.snakemake_bridge import TO_MAKE_AGAIN, Job, plan, remember
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger, experiment_of, read_ledger
from tailproof.runtime.records import Record


@dataclass(frozen=True)
class Restored:
    """Result of a restore.

    Attributes:
        proven: files with the recorded bytes, marked as up to date.
        damaged: the reason, by path of each file whose job must run again.
    """

    proven: list[str]
    damaged: dict[str, str]


def restore(experiment: str) -> Restored:
    """Verify an experiment's files against its ledger and write Snakemake's metadata for them.

    The files of stores that its jobs read, such as pretrained weights, are restored too.

    Raises:
        TailproofError: there is no ledger, Snakemake is running in this folder, or Snakemake
            cannot read the workflow.
    """
    ledger = read_ledger(experiment)
    if not ledger.records and not ledger.unreadable:
        raise TailproofError(
            f"{project_paths().provenance(experiment)} contains no records: run snakemake, or "
            "pull the records of an experiment that was run elsewhere"
        )
    if any(Path(".snakemake/locks").glob("*")):
        raise TailproofError(
            "Snakemake is running in this folder or was killed (.snakemake/locks is not empty): "
            "wait for it, or run `snakemake --unlock`"
        )
    jobs = plan(project_paths().page(experiment))
    proven, damaged = set[str](), dict[str, str]()
    read = [path for job in jobs if job.rule == "prepare" for path in job.inputs]
    stores = ledgers_of_stores({path for job in jobs for path in job.inputs})
    for files in [*stores, ledger]:  # a store first: its files must not be newer
        reasons = _damaged(files, read)
        _set_times(files, read)
        _remember(files, jobs, reasons)
        proven |= files.files.keys() - reasons.keys()
        damaged |= reasons
    return Restored(sorted(proven), damaged)


def _damaged(ledger: Ledger, read: list[str]) -> dict[str, str]:
    """Return the reason for each recorded file or record that is damaged, by path."""
    there = [path for path in ledger.files if Path(path).is_file()]
    digests = dict(zip(there, sha256_files(there), strict=True))
    reasons = dict(ledger.unreadable)
    for path, file in ledger.files.items():
        if path not in digests:
            reasons[path] = "does not exist"
        elif digests[path] != file.sha256:
            reasons[path] = f"SHA-256 {digests[path][:12]}…, but {file.sha256[:12]}… in its record"
    raw, _ = check_raw(ledger, read)
    wrong = [verdict for verdict in raw if verdict.state != "proven"]
    if wrong:
        listed = (project_paths().experiment(ledger.experiment) / "raw.parquet").as_posix()
        reasons[listed] = f"raw file {wrong[0].path}: {wrong[0].why}"
    return _outdated(ledger) | reasons


def _outdated(ledger: Ledger) -> dict[str, str]:
    """Return records whose inputs have changed since; merging two branches can cause this."""
    inputs = {file.path for record in ledger for file in record.inputs} - ledger.files.keys()
    there = sorted(path for path in inputs if Path(path).is_file())
    now = dict(zip(there, sha256_files(there), strict=True))
    now |= {path: file.sha256 for path, file in ledger.files.items()}
    return {
        record.path: f"made from {file.path}, which was rebuilt since"
        for record in ledger
        for file in record.inputs
        if now.get(file.path, file.sha256) != file.sha256
    }


def _set_times(ledger: Ledger, read: list[str]) -> None:
    """Give all results the same time, so that no input is newer than an output.

    This is now, or the time of a raw file that a wrong clock put into the future.
    """
    outside = {*read, *(file.path for record in ledger for file in record.inputs)}
    outside -= ledger.files.keys()
    times = [Path(path).stat().st_mtime_ns for path in outside if Path(path).is_file()]
    now = max([time.time_ns(), *times])
    # Snakemake treats a job's benchmark file as one of its outputs.
    benchmarks = [Path(record.log).with_suffix(".tsv") for record in ledger]
    paths = map(Path, [*ledger.files, *ledger.records, *ledger.unreadable])
    for path in (*paths, *benchmarks):
        if path.is_file():
            try:
                os.utime(path, ns=(now, now))
            except OSError as error:
                raise TailproofError(
                    f"the time of {path} cannot be set ({error.strerror}): restore needs write "
                    "permission for the results"
                ) from None


def _remember(ledger: Ledger, jobs: list[Job], damaged: dict[str, str]) -> None:
    """Write Snakemake's metadata of every output from the records."""
    metadata: dict[str, dict[str, object]] = {}
    for record in ledger:
        outputs = [*(file.path for file in record.outputs), record.path]
        facts = _facts(record)
        if any(path in damaged for path in outputs):
            facts["params"] = TO_MAKE_AGAIN
        metadata |= dict.fromkeys(outputs, facts)
    for job in jobs:
        ours = experiment_of(job.outputs[0]) == ledger.experiment
        if ours and not any(path in ledger.files for path in job.outputs):
            facts = {"rule": job.rule, "params": TO_MAKE_AGAIN}
            metadata |= dict.fromkeys(job.outputs, facts)
    remember(metadata)


def _facts(record: Record) -> dict[str, object]:
    """Return the metadata that Snakemake itself would have written after the job."""
    values = [*record.parameters.values(), record.code.closure]
    # Raw inputs are not in the record: None keeps Snakemake from comparing them.
    inputs = sorted(file.path for file in record.inputs) if record.rule != "prepare" else None
    return {
        "rule": record.rule,
        "input": inputs,
        "log": [record.log],
        "params": sorted(map(repr, values)),
        "starttime": record.started.timestamp(),
        "endtime": record.ended.timestamp(),
        "incomplete": False,
        "input_checksums": {file.path: f"sha256:{file.sha256}" for file in record.inputs},
    }
