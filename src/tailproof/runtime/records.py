"""The record of one job: what went in, what came out, by which code, where and when."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tailproof.digests import digest_of
from tailproof.files import json_text, write_text
from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError

VERSION = 2

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class NewerSchema(TailproofError):  # noqa: N818 - reads as what it says
    """A record that this version cannot read."""


class Strict(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class File(Strict):
    """A file as it was: its path from the repository, or an absolute one outside of it."""

    path: str
    sha256: Sha256
    bytes: int


class Code(Strict):
    """The code that ran.

    Attributes:
        version: of the package tailproof.
        closure: digest of all project code that the job's script can reach (`closure.code_digest`).
        runtime: digest of the code that carried the result and had no say in it
            (`closure.runtime_digest`).
        commit: git's, None outside of a repository.
        dirty: whether tracked or new files differed from the commit, results apart.
        difference: digest of that difference; None where there is none.
        packages: the installed version of each package that the closure imports, and of Snakemake.
        python: of the interpreter.
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
    """Where a job ran.

    Attributes:
        device: the GPU's name where the job used one, else the processor's.
        threads: that the job was given.
        peak_memory_bytes: of the job's largest process.
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
        version: of this schema.
        name: of the job within its rule: its wildcards.
        inputs: what it read. Raw data are not here: prepare lists them in raw.parquet.
        parameters: its slice of the configuration, as its rule passed it on.
        running: what said how to run it and has no say in the result.
        seeds: of its random numbers, in the configuration.
        command: how Snakemake was called.
        log: file that it logged to.
        results: the few numbers that the experiment log shows of this job.
        seal: digest of all the rest.
    """

    version: int = VERSION
    experiment: str
    rule: str
    name: str
    wildcards: dict[str, str]
    inputs: list[File]
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
        """Where the record lies."""
        return record_path(self.experiment, self.rule, self.name)

    def text(self) -> str:
        """Return the file's text, sealed."""
        value = self.model_dump(mode="json", exclude={"seal"})
        return json_text(value | {"seal": digest_of(value)})

    def write(self, path: str | Path) -> None:
        """Write the record, sealed, whole or not at all."""
        write_text(path, self.text())


def record_path(experiment: str, rule: str, name: str) -> str:
    """Return where the record of a job lies."""
    return project_paths().record(experiment, rule, name)


def read_record(path: str | Path) -> Record:
    """Read a record.

    Raises:
        NewerSchema: a newer tailproof wrote it.
        TailproofError: it is missing, not a record, or was edited.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        value = json.loads(text)
        version = value.get("version")
    except FileNotFoundError:
        raise TailproofError(f"{path} does not exist") from None
    except (AttributeError, OSError, RecursionError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if isinstance(version, int) and version > VERSION:
        raise NewerSchema(
            f"{path} was written by a newer tailproof (schema {version}, this one reads up to "
            f"{VERSION}): update tailproof"
        )
    if isinstance(version, int) and version < VERSION:
        raise TailproofError(
            f"{path} was written by an older tailproof (schema {version}, this one reads "
            f"{VERSION}): run the job again, or audit with the tailproof that wrote it"
        )
    try:
        record = Record.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{field}: {first['msg']}") from None
    if record.text() != text:
        raise TailproofError(f"{path} is not what the job wrote (its seal differs): it was edited")
    return record


def _damaged(path: str | Path, why: str) -> TailproofError:
    return TailproofError(f"{path} is not a record ({why}): it was edited or damaged")
