"""The jobs of an experiment as its configuration and code are now, asked of Snakemake.

Snakemake reads its rules in a process of its own, which prints the jobs as JSON:
``python -m tailproof.provenance.snakemake_bridge TARGET``. Nothing runs and no lock is taken.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
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


def _plan(targets: list[str]) -> list[Job]:
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

    resources = ResourceSettings(overwrite_resources=AT_HAND)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
        workflow = api.workflow(resources, snakefile=Path("Snakefile"))
        workflow.dag(DAGSettings(targets=targets)).execute_workflow("dryrun")
        jobs = workflow._workflow.dag.jobs  # Snakemake has no other way to ask
        return [_job(job) for job in jobs if job.rule.script]


def _job(job: Any) -> Job:
    parameters = dict(job.params.items())
    code = parameters.pop("code")
    return Job(job.rule.name, _texts(job.input), _texts(job.output), parameters, code)


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
