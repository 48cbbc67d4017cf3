"""All that Tailproof asks of Snakemake from inside, and all that it uses of its private parts.

To plan, Snakemake reads its rules in a process of its own, which prints the jobs as JSON:
``python -m tailproof.provenance.snakemake_bridge TARGET``. Nothing runs and no lock is taken.
Where another version of Snakemake moves a private part, the module's tests fail first.
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailproof.runtime.errors import TailproofError

AT_HAND = {rule: {"cleared": "yes", "mem_mb": 1, "runtime": 1} for rule in ("train", "rung")}
"""Resources that are looked up in files: those may be damaged, and a plan runs nothing."""


@dataclass(frozen=True)
class Job:
    """One job, with paths from the repository.

    Attributes:
        rule: its stage.
        parameters: its rule's, without the code's digest.
        code: the digest of its code closure.
    """

    rule: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[str, Any]
    code: str


def plan(*targets: str) -> list[Job]:
    """Return every job that the targets depend on, done or not.

    Raises:
        TailproofError: Snakemake cannot read the workflow or the configuration.
    """
    if not Path("Snakefile").exists():
        raise TailproofError(f"{Path.cwd()} holds no Snakefile: work in the repository's folder")
    kept = next(path for path in (Path(".snakemake"), Path()) if path.exists())
    if not os.access(kept, os.W_OK):
        raise TailproofError(
            f"{kept.absolute()} cannot be written, and Snakemake keeps notes there while it plans: "
            "work in a clone that can be written"
        )
    command = [sys.executable, "-m", __name__, *targets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise TailproofError(f"Snakemake cannot plan {' '.join(targets)}: {done.stderr}") from None
    if isinstance(told, str):
        raise TailproofError(told)
    return [Job(**job) for job in told]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on all cores, quietly, and return how it ended."""
    command = [sys.executable, "-m", "snakemake", "--quiet", "all", "--cores", "all", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def stage_of(job: Any) -> str | None:
    """Return the stage of one of Snakemake's jobs, whatever prefix its rule has."""
    record = job.output.get("record")
    return Path(record).parent.name if record else None


def start_after(dag: Any, first: str, then: Collection[str]) -> None:
    """Let jobs of some stages start after that of another, of the same experiment, if both run.

    Snakemake knows no order without dependency. An input would make the later jobs stale with
    every change of the first one; as ``ancient`` it would hide their own changes, since what
    follows a job that runs is not looked at again.

    Args:
        dag: Snakemake's, before it starts its first job.
        first: a stage that has one job.
        then: the stages that wait.
    """
    jobs = list(dag.needrun_jobs())
    firsts = {job.wildcards.experiment: job for job in jobs if stage_of(job) == first}
    for job in jobs:
        before = firsts.get(job.wildcards.experiment) if stage_of(job) in then else None
        if before and before not in dag.dependencies[job]:
            dag.dependencies[job][before] = set()
            dag.depending[before][job] = set()
            dag._n_until_ready[job] += 1
            dag._ready_jobs.discard(job)


def remember(facts: dict[str, dict[str, object]]) -> None:
    """Write what Snakemake knows of how files were made.

    Args:
        facts: fields of Snakemake's `MetadataRecord`, by path.
    """
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
    from snakemake.persistence.file import FilePersistence

    memory = FilePersistence(path=Path(".snakemake").absolute())
    for path, fields in facts.items():
        record = MetadataRecord(record_format_version=RECORD_FORMAT_VERSION, **fields)
        memory._write_record(path, record)


def _plan(targets: list[str]) -> list[Job]:
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

    resources = ResourceSettings(overwrite_resources=AT_HAND)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
        workflow = api.workflow(resources, snakefile=Path("Snakefile"))
        workflow.dag(DAGSettings(targets=targets)).execute_workflow("dryrun")
        jobs = workflow._workflow.dag.jobs  # Snakemake has no other way to ask
        return [_job(job) for job in jobs if stage_of(job)]


def _job(job: Any) -> Job:
    parameters = dict(job.params.items())
    code = parameters.pop("code")
    return Job(str(stage_of(job)), _texts(job.input), _texts(job.output), parameters, code)


def _texts(paths: Iterable[str]) -> list[str]:
    return [str(path) for path in paths]


def _answer(targets: list[str]) -> list[dict[str, Any]] | str:
    """Return the jobs, or why there are none."""
    with redirect_stdout(sys.stderr):
        try:
            return [asdict(job) for job in _plan(targets)]
        except Exception as error:  # of any kind: Snakemake runs the rules' own code here
            return str(error)


if __name__ == "__main__":
    print(json.dumps(_answer(sys.argv[1:])))
