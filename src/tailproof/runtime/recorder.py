"""Checks the inputs of a job and records its outputs."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailproof.digests import sha256_files
from tailproof.files import remove_unfinished
from tailproof.runtime.code_digest import code_digest, packages
from tailproof.runtime.environment import describe_code, describe_machine, snakemake_command
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import experiment_of, maker_path
from tailproof.runtime.packages import MISSING, OPTIONAL, without_build_tag
from tailproof.runtime.records import File, NewerSchema, Record, read_record, record_path
from tailproof.runtime.stages import STAGES, script_of
from tailproof.runtime.undeclared_reads import (
    DeclaredReads,
    declared_reads,
    refuse_undeclared_reads,
)


class Recorder:
    """Builds the record of one job: first from its inputs, then from its outputs.

    Args:
        snakemake: the object that Snakemake passes to a script.
        stage: name of the stage.
        raw: names of inputs that are raw data; an output lists their checksums.

    Attributes:
        digests: SHA-256 of every input except raw data, by path.
        results: the few results that the record stores.

    Raises:
        TailproofError: an input differs from its record, the code was edited after the workflow
            started, or an installed package differs from constraints.txt.
    """

    def __init__(self, snakemake: Any, stage: str, raw: tuple[str, ...]) -> None:
        self._snakemake, self._stage, self._started = snakemake, stage, datetime.now(UTC)
        self.results: dict[str, Any] = {}
        for path in snakemake.output:  # Snakemake's lock keeps other jobs from writing them
            remove_unfinished(path)
        self._experiment = str(experiment_of(snakemake.output.record))
        script = script_of(stage, snakemake.params.get("script", ""))
        _check_code(script, snakemake.params.code)
        versions = packages(script)
        self._code = describe_code(snakemake.params.code, [*versions, "snakemake"])
        _check_packages(self._code.packages, versions)
        left_out = {path for name in raw for path in _paths(snakemake.input.get(name, ()))}
        self._inputs = described([path for path in snakemake.input if path not in left_out])
        _check_inputs(self._inputs)
        self.digests = {file.path: file.sha256 for file in self._inputs}

    def refuse_undeclared_reads(self) -> None:
        """From now on, let this process open only those results that its rule declares."""
        stage, job = STAGES[self._stage], self._snakemake
        if not stage.reads_all:
            raw = None if stage.reads_raw else _raw_root(self._experiment)
            paths = [*job.input, *job.output, *job.log]
            refuse_undeclared_reads(DeclaredReads(self._stage, paths, raw))

    def record(self) -> Record:
        """Return the record; call it once all outputs exist."""
        snakemake = self._snakemake
        path, reads = snakemake.output.record, declared_reads()
        return Record(
            experiment=self._experiment,
            rule=self._stage,
            name=Path(path).stem,
            wildcards=dict(snakemake.wildcards.items()),
            inputs=self._inputs,
            undeclared=sorted(reads.raw_files) if reads else [],
            outputs=described([output for output in snakemake.output if output != path]),
            code=self._code,
            parameters={key: value for key, value in snakemake.params.items() if key != "code"},
            running=_running(snakemake.resources),
            seeds=_seeds(snakemake),
            machine=describe_machine(snakemake.threads),
            started=self._started,
            ended=datetime.now(UTC),
            command=snakemake_command(),
            log=snakemake.log[0],
            results=self.results,
        )


def described(paths: list[str]) -> list[File]:
    """Return the path, digest and size of files as they are now."""
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
            "command again, so that Snakemake determines again what is stale"
        )


def _check_packages(installed: dict[str, str], locked: dict[str, str]) -> None:
    """Refuse installed packages whose versions differ from those in the code digest."""
    for name, version in locked.items():
        if installed[name] == MISSING and name in OPTIONAL:
            continue
        if without_build_tag(installed[name]) != version:
            found = "" if installed[name] == MISSING else f" {installed[name]}"
            raise TailproofError(
                f"{name}{found} is {'installed' if found else 'not installed'}, but "
                f"constraints.txt pins {version}: run `pip install -c constraints.txt -e . {name}` "
                "or correct constraints.txt"
            )


def _check_inputs(inputs: list[File]) -> None:
    """Refuse an input whose digest differs from the record of the job that wrote it."""
    makers = {path for file in inputs if (path := maker_path(file.path))}
    made = {file.path: file for path in sorted(makers) for file in _outputs_on_record(path)}
    for file in inputs:
        recorded = made.get(file.path, file)
        if file.sha256 != recorded.sha256:
            raise TailproofError(
                f"{file.path} was changed after its job wrote it (SHA-256 {file.sha256[:12]}…, "
                f"but {recorded.sha256[:12]}… in its record): delete it and run again to rebuild "
                "it, or see `tailproof audit`"
            )


def _outputs_on_record(path: str) -> list[File]:
    """Return a job's outputs; none if its record is unreadable, which an audit reports."""
    try:
        return read_record(path).outputs
    except NewerSchema:
        raise
    except TailproofError:
        return []


def _raw_root(experiment: str) -> str | None:
    """Return the folder of an experiment's raw files, from the record of prepare."""
    try:
        prepare = read_record(record_path(experiment, "prepare", "prepare"))
    except TailproofError:
        return None
    return prepare.parameters["data"]["source"].get("root")


def _running(resources: Any) -> dict[str, Any]:
    """Return the resources that a rule declares, without those that Snakemake adds."""
    declared = {name: value for name, value in resources.items() if name not in _SNAKEMAKES}
    return json.loads(json.dumps(declared, default=str))


def _seeds(snakemake: Any) -> list[int]:
    """Return the seeds in the wildcards or the parameters."""
    if snakemake.wildcards.get("seed"):
        return [int(snakemake.wildcards.seed)]
    if snakemake.params.get("seeds"):
        return list(snakemake.params.seeds)
    sections = [value for value in snakemake.params if isinstance(value, dict)]
    return [section["seed"] for section in sections if "seed" in section]
