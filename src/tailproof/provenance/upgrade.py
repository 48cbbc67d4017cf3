"""What an upgrade of tailproof would run again, stage by stage, before anything is replaced."""

from collections import Counter
from dataclasses import dataclass

from tailproof.output import say
from tailproof.project import project_paths
from tailproof.provenance.snakemake_bridge import Job
from tailproof.provenance.staleness import code_changes, finished_jobs, setting_changes
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Record
from tailproof.text import listed, quantity


@dataclass(frozen=True)
class StaleStage:
    """A stage with finished jobs that would run again.

    Attributes:
        jobs: how many of its finished jobs.
        of: number of its finished jobs.
        versions: the versions of tailproof that made them.
        reasons: why, each with the number of jobs; a job without a reason of its own follows the
            stage that the reason names.
    """

    stage: str
    jobs: int
    of: int
    versions: list[str]
    reasons: dict[str, int]


def stale_stages(experiment: str) -> list[StaleStage]:
    """Return the stages with finished jobs that would run again, in the order of the pipeline.

    No file is hashed.

    Raises:
        TailproofError: there are no records, or Snakemake cannot read the workflow.
    """
    finished = _in_order(finished_jobs(experiment))
    if not finished:
        raise TailproofError(
            f"{project_paths().provenance(experiment)} contains no records of finished jobs: run "
            "snakemake, or pull the records of an experiment that was run elsewhere"
        )
    reasons = _reasons(finished)
    stages: dict[str, list[tuple[Record, str]]] = {}
    for job, record in finished:
        stages.setdefault(record.rule, []).append((record, reasons.get(job.outputs[0], "")))
    return [
        StaleStage(
            stage,
            sum(bool(reason) for _, reason in jobs),
            len(jobs),
            sorted({record.code.version for record, reason in jobs if reason}),
            dict(Counter(reason for _, reason in jobs if reason)),
        )
        for stage, jobs in stages.items()
        if any(reason for _, reason in jobs)
    ]


def _in_order(finished: list[tuple[Job, Record]]) -> list[tuple[Job, Record]]:
    """Return the jobs so that each comes after those whose files it reads."""
    by_output = {path: pair for pair in finished for path in pair[0].outputs}
    placed: dict[str, tuple[Job, Record]] = {}

    def place(pair: tuple[Job, Record]) -> None:
        if pair[0].outputs[0] in placed:
            return
        for path in pair[0].inputs:
            if path in by_output:
                place(by_output[path])
        placed[pair[0].outputs[0]] = pair

    for pair in finished:
        place(pair)
    return list(placed.values())


def _reasons(finished: list[tuple[Job, Record]]) -> dict[str, str]:
    """Return why a job would run again, by its first output; the jobs are in their order."""
    makers = {path: job for job, _ in finished for path in job.outputs}
    reasons: dict[str, str] = {}
    for job, record in finished:
        own = code_changes(record, job.code) + setting_changes(record, job)
        before = [makers[path] for path in job.inputs if path in makers]
        follows = next((one.rule for one in before if one.outputs[0] in reasons), None)
        if own:
            reasons[job.outputs[0]] = "; ".join(own)
        elif follows:
            reasons[job.outputs[0]] = f"it reads what {follows} would make again"
    return reasons


def print_stale_stages(experiment: str) -> None:
    """Print a line per stage, and what to do next."""
    stages = stale_stages(experiment)
    if not stages:
        say(f"{experiment}: no finished job would run again")
        return
    for stage in stages:
        why = "; ".join(f"{reason} ({number})" for reason, number in stage.reasons.items())
        say(
            f"{stage.stage}  {stage.jobs} of {quantity(stage.of, 'job')}, made by version "
            f"{listed(stage.versions)}: {why}"
        )
    version = stages[0].versions[0]
    say(
        f"next: `tailproof reproduce {experiment} --against {version}` shows on a sample whether "
        "this version gives the same bytes"
    )
