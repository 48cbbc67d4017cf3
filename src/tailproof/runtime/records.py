"""The record of one job: its inputs and outputs, the code, the machine and the time."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tailproof.digests import digest_of
from tailproof.files import json_text, write_text
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_bytes

VERSION = 2

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class NewerSchema(TailproofError):  # noqa: N818 - the name says it
    """A record whose schema is newer than this version of tailproof can read."""


class Strict(BaseModel):
    """A frozen model that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class File(Strict):
    """A file as the job saw it; its path is relative to the repository, absolute outside of it."""

    path: str
    sha256: Sha256
    bytes: int


class Code(Strict):
    """The code that ran.

    Attributes:
        version: version of the package tailproof.
        closure: digest of all project code that the job's script can reach
            (`code_digest.code_digest`).
        runtime: digest of the code that ran the job without affecting its result
            (`code_digest.runtime_digest`).
        commit: git commit; None outside of a repository.
        dirty: whether files, tracked or new, differed from the commit; results do not count.
        difference: digest of that difference; None if there is none.
        packages: installed versions of Snakemake and of each package that the closure imports.
        python: version of the interpreter.
    """

    version: str
    closure: Sha256
    runtime: Sha256
    commit: str | None
    dirty: bool
    difference: Sha256 | None
    packages: dict[str, str]
    python: str


class Machine(Strict):
    """The machine that a job ran on.

    Attributes:
        device: name of the GPU if the job used one, otherwise of the processor.
        threads: number of threads that the job was given.
        peak_memory_bytes: peak memory of the job's largest process.
    """

    host: str
    user: str
    slurm_job: str | None
    device: str
    threads: int
    peak_memory_bytes: int


class Record(Strict):
    """One job of the ledger: ``results/EXPERIMENT/provenance/RULE/NAME.json``.

    Attributes:
        version: version of this schema.
        name: name of the job within its rule, formed from its wildcards.
        inputs: files that the job declares and may read, without raw data, which prepare lists in
            raw.parquet.
        undeclared: files in the folder of the raw data that it opened, although its stage has
            no business there. Results that are not inputs cannot be opened.
        parameters: the part of the configuration that the rule passed to the job.
        running: resources and execution settings, which do not affect the result.
        seeds: random seeds from the configuration.
        command: command line of Snakemake.
        log: path of the job's log file.
        results: the few numbers of this job that the experiment log shows.
        seal: digest of all other fields.
    """

    version: int = VERSION
    experiment: str
    rule: str
    name: str
    wildcards: dict[str, str]
    inputs: list[File]
    undeclared: list[str]
    outputs: list[File]
    parameters: dict[str, Any]
    running: dict[str, Any]
    seeds: list[int]
    code: Code
    machine: Machine
    started: datetime
    ended: datetime
    command: str
    log: str
    results: dict[str, Any] = {}
    seal: str = ""

    @property
    def path(self) -> str:
        """The path of the record."""
        return record_path(self.experiment, self.rule, self.name)

    def text(self) -> str:
        """Return the text of the record file, with the seal."""
        value = self.model_dump(mode="json", exclude={"seal"})
        return json_text(value | {"seal": digest_of(value)})

    def write(self, path: str | Path) -> None:
        """Write the record, with the seal, atomically."""
        write_text(path, self.text())


def record_path(experiment: str, rule: str, name: str) -> str:
    """Return the path of a job's record."""
    return project_paths().record(experiment, rule, name)


def read_record(path: str | Path) -> Record:
    """Read a record.

    Raises:
        NewerSchema: a newer tailproof wrote the file.
        TailproofError: the file is missing, is not a record, or was edited.
    """
    try:
        text = read_bytes(path).decode()
        value = json.loads(text)
        version = value.get("version")
    except (AttributeError, RecursionError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if isinstance(version, int) and version > VERSION:
        raise NewerSchema(
            f"{path} was written by a newer tailproof (schema {version}, this version reads up to "
            f"{VERSION}): update tailproof"
        )
    if isinstance(version, int) and version < VERSION:
        raise TailproofError(
            f"{path} was written by an older tailproof (schema {version}, this version reads "
            f"{VERSION}): run the job again, or audit with the version that wrote it"
        )
    try:
        record = Record.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{field}: {first['msg']}") from None
    if record.text() != text:
        raise TailproofError(
            f"{path} does not match its seal, so it was edited after the job wrote it: restore "
            "the original, for example with git, or delete it and run snakemake again"
        )
    return record


def _damaged(path: str | Path, why: str) -> TailproofError:
    return TailproofError(
        f"{path} is not a record ({why}), so it was edited or damaged: restore the original, for "
        "example with git, or delete it and run snakemake again"
    )
