"""All calls into Snakemake's Python code, public and private.

To plan, Snakemake reads the rules in a separate process, which prints the jobs as JSON:
``python -m tailproof.provenance.snakemake_bridge TARGET``. No job runs and no lock is taken.
If a new version of Snakemake changes a private part, the tests of this module fail first.
"""

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from tailproof.resource_limits import lacking
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.process import gc_paused
from tailproof.runtime.records import Record
from tailproof.text import quantity

AT_HAND = {rule: {"cleared": "yes", "mem_mb": 1, "runtime": 1} for rule in ("train", "rung")}
"""Fixed values for resources that are read from files: a plan must not fail on damaged files."""

TO_MAKE_AGAIN = ["not what its record says"]
"""Parameters that no job has, so that Snakemake runs the job again."""

HEADINGS = ("Error:", "WorkflowError:")
"""Lines that Snakemake writes above the error of an input function."""


@dataclass(frozen=True)
class Job:
    """One job; paths are relative to the repository.

    Attributes:
        rule: the stage of the job.
        parameters: parameters of its rule, without the digest of the code.
        code: digest of its code closure.
    """

    rule: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[str, Any]
    code: str


def plan(*targets: str, folder: str | Path = ".") -> list[Job]:
    """Return every job that the targets depend on, done or not.

    Args:
        targets: the files to build.
        folder: the project to work in.

    Raises:
        TailproofError: Snakemake cannot read the workflow or the configuration.
    """
    folder = Path(folder)
    if not (folder / "Snakefile").exists():
        raise TailproofError(
            f"{folder.absolute()} has no Snakefile: work in the folder of the project"
        )
    done = _run_module(__name__, *targets, folder=folder)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise TailproofError(f"Snakemake cannot plan {' '.join(targets)}: {done.stderr}") from None
    if isinstance(answer, str):
        raise TailproofError(answer)
    return [Job(**job) for job in answer]


def run(
    targets: Iterable[str | Path], *options: str, folder: str | Path = "."
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on all cores, quietly, and return the completed process.

    Args:
        targets: the files to build.
        options: further options of Snakemake.
        folder: the project to work in.

    Raises:
        TailproofError: Snakemake cannot write here, or cannot read the workflow or the
            configuration, which it does not report when it is quiet.
    """
    files = [str(target) for target in targets]
    quiet = ("--quiet", "all", "--cores", "all")
    done = _run_module("snakemake", *quiet, *options, "--", *files, folder=folder)
    if done.returncode:
        plan(*files, folder=folder)
    return done


def _run_module(
    module: str, *arguments: str, folder: str | Path
) -> subprocess.CompletedProcess[str]:
    _check_writable(Path(folder))
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env=_environment(),
    )


def _check_writable(folder: Path) -> None:
    metadata = next(path for path in (folder / ".snakemake", folder) if path.exists())
    if not os.access(metadata, os.W_OK):
        raise TailproofError(
            f"{metadata.absolute()} is not writable, but Snakemake writes metadata there while it "
            "plans: work in a clone that is writable"
        )


def name_user() -> None:
    """Name the user by number, as in a container that has no name for it: Snakemake needs one."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


def _environment() -> dict[str, str]:
    """Return the environment for Snakemake, which needs a user's name and a folder for its cache.

    A container, or a user of a cluster without a home folder, may have neither.
    """
    name_user()
    environment = dict(os.environ)
    for name, default in (("XDG_CACHE_HOME", "~/.cache"), ("XDG_CONFIG_HOME", "~/.config")):
        folder = Path(os.environ.get(name) or os.path.expanduser(default))  # noqa: PTH111 - may fail
        there = next(path for path in (folder, *folder.parents, Path()) if path.exists())
        if not folder.is_absolute() or not os.access(there, os.W_OK):
            environment[name] = str(Path(".snakemake", "home").absolute())
    return environment


def stage_of(job: Any) -> str | None:
    """Return the stage of a Snakemake job, whatever prefix its rule has; None without one."""
    record = job.output.get("record")
    return Path(record).parent.name if record else None


def before_jobs(workflow: Any, act: Callable[[], None]) -> None:
    """Call a function before the first job starts, and before any `onstart` block.

    Snakemake ignores the `onstart` block of a workflow that is a module of another, and of several
    blocks it runs the last.

    Args:
        workflow: Snakemake's workflow, which a module shares with the workflow that uses it.
        act: it is not called on a dry run, nor with ``--no-hooks``.
    """
    block, add_block = workflow._onstart, workflow.onstart

    def onstart(next_block: Callable[[Any], None]) -> None:
        def start(log: Any) -> None:
            act()
            next_block(log)

        add_block(start)

    def start(log: Any) -> None:
        act()
        block(log)

    workflow._onstart, workflow.onstart = start, onstart


def start_after(dag: Any, first: str, then: Collection[str]) -> None:
    """Let jobs of some stages start after the job of another, per experiment, if both run.

    A job that the first one needs, such as the training of an expert from which another starts,
    runs before it.

    Snakemake has no order without a dependency. An input would make the later jobs stale whenever
    the first one changes. An ``ancient`` input would hide changes of the later jobs, because
    Snakemake does not check again what follows a job that runs.

    Args:
        dag: Snakemake's DAG, before the first job starts.
        first: a stage with one job per experiment.
        then: the stages that wait for it.
    """
    jobs = list(dag.needrun_jobs())
    firsts = {job.wildcards.experiment: job for job in jobs if stage_of(job) == first}
    needed = {name: _needed_by(dag, job) for name, job in firsts.items()}
    for job in jobs:
        before = firsts.get(job.wildcards.experiment) if stage_of(job) in then else None
        if (
            before
            and before not in dag.dependencies[job]
            and job not in needed[job.wildcards.experiment]
        ):
            dag.dependencies[job][before] = set()
            dag.depending[before][job] = set()
            dag._n_until_ready[job] += 1
            dag._ready_jobs.discard(job)


def _needed_by(dag: Any, job: Any) -> set[Any]:
    """Return all jobs that a job depends on."""
    needed, open_jobs = set(), [job]
    while open_jobs:
        for before in dag.dependencies[open_jobs.pop()]:
            if before not in needed:
                needed.add(before)
                open_jobs.append(before)
    return needed


def let_times_follow_inputs() -> None:
    """Let a job end well whose inputs have times in the future, from now on, in this process.

    A wrong clock, of a camera or of a machine, gives such times. Snakemake would count the job as
    failed and delete its outputs. Instead, the outputs get the time of the newest input.
    """
    from snakemake.dag import DAG
    from snakemake.exceptions import WorkflowError

    check = DAG.check_output_mtime
    if hasattr(check, "__wrapped__"):
        return

    @wraps(check)
    async def check_or_follow(dag: Any, job: Any, outputs: Collection[str]) -> None:
        try:
            await check(dag, job, outputs)
        except WorkflowError:
            if stage_of(job) is None:
                raise
            times = [Path(path).lstat().st_mtime_ns for path in job.input if os.path.lexists(path)]
            for path in filter(os.path.lexists, outputs):
                os.utime(path, ns=(max(times), max(times)), follow_symlinks=False)
            await check(dag, job, outputs)

    DAG.check_output_mtime = check_or_follow


def remember(facts: Mapping[str, Mapping[str, object]]) -> None:
    """Write Snakemake's metadata about how files were made.

    Args:
        facts: fields of Snakemake's `MetadataRecord`, by path of the file.
    """
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
    from snakemake.persistence.file import FilePersistence

    memory = FilePersistence(path=Path(".snakemake").absolute())
    for path, fields in facts.items():
        record = MetadataRecord(record_format_version=RECORD_FORMAT_VERSION, **fields)
        memory._write_record(path, record)


def prepare_again(record: Record, replaced: list[str]) -> str:
    """Let Snakemake run the stage prepare of an experiment again; return a sentence that says so.

    Args:
        record: the record of the job.
        replaced: the raw files whose content has changed since.
    """
    facts = {"rule": record.rule, "params": TO_MAKE_AGAIN}
    remember(dict.fromkeys([*(file.path for file in record.outputs), record.path], facts))
    return (
        f"{record.experiment}: {quantity(len(replaced), 'raw file')} "
        f"{'was' if len(replaced) == 1 else 'were'} replaced since prepare ran; the first is "
        f"{replaced[0]}: prepare runs again"
    )


def _plan(targets: list[str]) -> list[Job]:
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

    resources = ResourceSettings(overwrite_resources=AT_HAND)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
        workflow = api.workflow(resources, snakefile=Path("Snakefile"))
        workflow.dag(DAGSettings(targets=targets)).execute_workflow("dryrun")
        jobs = workflow._workflow.dag.jobs  # Snakemake has no public interface for this
        return [_job(job) for job in jobs if stage_of(job)]


def _job(job: Any) -> Job:
    parameters = dict(job.params.items())
    code = parameters.pop("code")
    return Job(str(stage_of(job)), _texts(job.input), _texts(job.output), parameters, code)


def _texts(paths: Iterable[str]) -> list[str]:
    return [str(path) for path in paths]


def _answer(targets: list[str]) -> list[dict[str, Any]] | str:
    """Return the planned jobs, or the reason why planning failed."""
    with redirect_stdout(sys.stderr):
        try:
            return [asdict(job) for job in _plan(targets)]
        except Exception as error:  # any kind: Snakemake runs the code of the rules here
            return _why(error)


def _why(error: Exception) -> str:
    """Return what failed, without the wildcards and the traceback that Snakemake adds."""
    lines = str(error).partition("\nWildcards:\n")[0].splitlines()
    text = "\n".join(line.strip() for line in lines if line.strip() not in HEADINGS)
    advice = lacking(error)
    return f"{text}: {advice}" if advice else text


if __name__ == "__main__":
    with gc_paused():  # a short process
        print(json.dumps(_answer(sys.argv[1:])))
