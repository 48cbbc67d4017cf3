"""What every script of the workflow runs in: a log, clear failures, checked inputs, a record."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailproof.digests import sha256_files
from tailproof.runtime.code_digest import ROOT, code_digest, packages
from tailproof.runtime.environment import describe_code, describe_machine, snakemake_command
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.job_logging import job_logging
from tailproof.runtime.ledger import maker_path
from tailproof.runtime.records import File, NewerSchema, Record, read_record


@dataclass(frozen=True)
class Job:
    """What a script gets while its job runs.

    Attributes:
        digests: SHA-256 of every input, by path: no script needs to hash one again.
        results: the few results that the record shall show, for the script to fill.
    """

    digests: dict[str, str]
    results: dict[str, Any] = field(default_factory=dict)


@contextmanager
def job(snakemake: Any, raw: tuple[str, ...] = ()) -> Iterator[Job]:
    """Run a script's body; write its record last, when all its outputs are there.

    Args:
        snakemake: the object that Snakemake gives to a script.
        raw: names of inputs that are raw data and that an output lists with their checksums.

    Raises:
        SystemExit: with one sentence, see `tailproof.runtime.job_logging`, or: an input is not what
            the job wrote that made it, the code was edited after the workflow started, or
            a package is not the one of constraints.txt.
    """
    record = snakemake.output.record
    # Not snakemake.rule: in a workflow that includes this one as a module it has a prefix.
    stage = Path(record).parent.name
    with job_logging(stage, snakemake.log[0]):
        started = datetime.now(UTC)
        script = ROOT / "workflow" / "scripts" / f"{stage}.py"
        _check_code(script, snakemake.params.code)
        code = describe_code(snakemake.params.code, [*packages(script), "snakemake"], ROOT)
        _check_packages(code.packages, packages(script))
        left_out = {path for name in raw for path in _paths(snakemake.input.get(name, ()))}
        inputs = described([path for path in snakemake.input if path not in left_out])
        _check_inputs(inputs)
        own = Job({file.path: file.sha256 for file in inputs})
        yield own
        outputs = described([path for path in snakemake.output if path != record])
        parameters = {name: each for name, each in snakemake.params.items() if name != "code"}
        Record(
            experiment=snakemake.wildcards.experiment,
            rule=stage,
            name=Path(record).stem,
            wildcards=dict(snakemake.wildcards.items()),
            inputs=inputs,
            outputs=outputs,
            code=code,
            parameters=parameters,
            running=_running(snakemake.resources),
            seeds=_seeds(snakemake),
            machine=describe_machine(snakemake.threads),
            started=started,
            ended=datetime.now(UTC),
            command=snakemake_command(),
            log=snakemake.log[0],
            results=own.results,
        ).write(record)


def described(paths: list[str]) -> list[File]:
    """Return path, digest and size of files, as they are now."""
    digests = sha256_files(paths)
    return [
        File(path=str(path), sha256=digest, bytes=Path(path).stat().st_size)
        for path, digest in zip(paths, digests, strict=True)
    ]


_SNAKEMAKES = ("_cores", "_nodes", "tmpdir", "mem", "mem_mib", "disk", "disk_mib")


def _paths(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _check_code(script: Path, planned: str) -> None:
    if code_digest(script) != planned:
        raise TailproofError(
            f"the code of {script.name} was edited after the workflow started: run the same "
            "command again, so that what is stale is found anew"
        )


def _check_packages(installed: dict[str, str], locked: dict[str, str]) -> None:
    """Refuse packages of other versions than those by which it is decided what is stale."""
    for name, version in locked.items():
        if installed[name].partition("+")[0] != version:  # torch adds what it was built for
            raise TailproofError(
                f"{name} {installed[name]} is installed, constraints.txt says {version}: run "
                "`pip install -c constraints.txt -e .`, or correct constraints.txt"
            )


def _check_inputs(inputs: list[File]) -> None:
    """Refuse an input that is not what its record says that its job wrote."""
    makers = {path for file in inputs if (path := maker_path(file.path))}
    made = {file.path: file for path in sorted(makers) for file in _outputs_on_record(path)}
    for file in inputs:
        wrote = made.get(file.path, file)
        if file.sha256 != wrote.sha256:
            raise TailproofError(
                f"{file.path} is not what the job that made it wrote (SHA-256 "
                f"{file.sha256[:12]}…, its record says {wrote.sha256[:12]}…): delete it, so that "
                "it is made again, or see `tailproof audit`"
            )


def _outputs_on_record(path: str) -> list[File]:
    """Return what a job wrote; nothing where it left no record that can be read: an audit says."""
    try:
        return read_record(path).outputs
    except NewerSchema:
        raise
    except TailproofError:
        return []


def _running(resources: Any) -> dict[str, Any]:
    """Return the resources that a rule names itself, without Snakemake's own."""
    own = {name: value for name, value in resources.items() if name not in _SNAKEMAKES}
    return json.loads(json.dumps(own, default=str))


def _seeds(snakemake: Any) -> list[int]:
    """Return the seeds that the wildcards or the parameters name."""
    if snakemake.wildcards.get("seed"):
        return [int(snakemake.wildcards.seed)]
    if snakemake.params.get("seeds"):
        return list(snakemake.params.seeds)
    sections = [value for value in snakemake.params if isinstance(value, dict)]
    return [section["seed"] for section in sections if "seed" in section]
