"""Give Snakemake its memory back from the ledger: in a clone, after a pull or a checkout.

Snakemake remembers parameters and inputs of each output in ``.snakemake``, which no clone has, and
compares times, which are all new there. Both are written anew from the records: a file that still
has the bytes on record gets what its record says, so that Snakemake runs its job again only where
the parameters or the code of today are others; a file that does not is marked as one to make again.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tailproof.digests import sha256_files
from tailproof.project import project_paths
from tailproof.provenance.raw_files import check_raw
from tailproof.provenance.snakemake_bridge import Job, plan, remember
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger, experiment_of, read_ledger
from tailproof.runtime.records import Record

TO_MAKE_AGAIN = ["not what its record says"]
"""Parameters that no job has."""


@dataclass(frozen=True)
class Restored:
    """What was found.

    Attributes:
        proven: files with the bytes on record, marked as their records say.
        damaged: why, by file, for those whose job is to run again.
    """

    proven: list[str]
    damaged: dict[str, str]


def restore(experiment: str) -> Restored:
    """Check the experiment's files against its ledger and tell Snakemake what it finds.

    Raises:
        TailproofError: there is no ledger, Snakemake runs here, or it cannot read the workflow.
    """
    ledger = read_ledger(experiment)
    if not ledger.records and not ledger.unreadable:
        raise TailproofError(
            f"{project_paths().provenance(experiment)} holds no record: nothing was run or "
            "committed here; run snakemake"
        )
    if any(Path(".snakemake/locks").glob("*")):
        raise TailproofError(
            "Snakemake runs here, or was killed: wait for it, or run `snakemake --unlock`"
        )
    jobs = plan(project_paths().page(experiment))
    damaged = _damaged(ledger, jobs)
    _set_times(ledger)
    _remember(ledger, jobs, damaged)
    return Restored(sorted(ledger.files.keys() - damaged.keys()), damaged)


def _damaged(ledger: Ledger, jobs: list[Job]) -> dict[str, str]:
    """Return what is wrong with files on record, and with records that cannot be read."""
    there = [path for path in ledger.files if Path(path).is_file()]
    digests = dict(zip(there, sha256_files(there), strict=True))
    found = dict(ledger.unreadable)
    for path, file in ledger.files.items():
        if path not in digests:
            found[path] = "not there"
        elif digests[path] != file.sha256:
            found[path] = f"SHA-256 {digests[path][:12]}…, its record says {file.sha256[:12]}…"
    read = [path for job in jobs if job.rule == "prepare" for path in job.inputs]
    raw, _ = check_raw(ledger, read)
    wrong = [verdict for verdict in raw if verdict.state != "proven"]
    if wrong:
        listed = (project_paths().experiment(ledger.experiment) / "raw.parquet").as_posix()
        found[listed] = f"raw file {wrong[0].path}: {wrong[0].why}"
    return _outdated(ledger) | found


def _outdated(ledger: Ledger) -> dict[str, str]:
    """Return the records whose inputs are others now: git can merge those of two branches."""
    inputs = {file.path for record in ledger for file in record.inputs} - ledger.files.keys()
    there = sorted(path for path in inputs if Path(path).is_file())
    now = dict(zip(there, sha256_files(there), strict=True))
    now |= {path: file.sha256 for path, file in ledger.files.items()}
    return {
        record.path: f"made from {file.path}, made anew since"
        for record in ledger
        for file in record.inputs
        if now.get(file.path, file.sha256) != file.sha256
    }


def _set_times(ledger: Ledger) -> None:
    """Give all results one time, so that none is newer than what was made from it."""
    now = time.time()
    # Snakemake takes the time of a job's benchmark for one of its outputs'.
    benchmarks = [Path(record.log).with_suffix(".tsv") for record in ledger]
    for path in [*ledger.files, *ledger.records, *ledger.unreadable, *benchmarks]:
        if Path(path).is_file():
            try:
                os.utime(path, (now, now))
            except OSError as error:
                raise TailproofError(
                    f"{path} cannot be marked as made ({error.strerror}): restore needs results "
                    "that you may write"
                ) from None


def _remember(ledger: Ledger, jobs: list[Job], damaged: dict[str, str]) -> None:
    """Let Snakemake know of every output what its record says."""
    known: dict[str, dict[str, object]] = {}
    for record in ledger:
        outputs = [*(file.path for file in record.outputs), record.path]
        facts = _facts(record)
        if any(path in damaged for path in outputs):
            facts["params"] = TO_MAKE_AGAIN
        known |= dict.fromkeys(outputs, facts)
    for job in jobs:
        ours = experiment_of(job.outputs[0]) == ledger.experiment
        if ours and not any(path in ledger.files for path in job.outputs):
            facts = {"rule": job.rule, "params": TO_MAKE_AGAIN}
            known |= dict.fromkeys(job.outputs, facts)
    remember(known)


def _facts(record: Record) -> dict[str, object]:
    """Return what Snakemake itself would have written after the job."""
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
