"""Statements about jobs and experts: in-toto Statement v1 with the predicate SLSA Provenance v1.

A statement is a function of records alone, so the same records give the same bytes, and whoever has
the records can compute the statement again. It names no machine and no user, and no absolute path:
of such a path only the last part is kept, or the part below the folder of results.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from tailproof.digests import digest_of, sha256_bytes
from tailproof.files import json_text
from tailproof.project import STORES
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Code, File, Record
from tailproof.runtime.stages import EXPERT, STAGES

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
JOB = "urn:tailproof:job:v1"
EXPERT_WITH_LINEAGE = "urn:tailproof:expert:v1"
BUILDER = "urn:tailproof:snakemake"

RAW = "raw.parquet"
ROLES = {RAW: "raw data: the table holds the SHA-256 of each raw file", ".safetensors": "weights"}
OUTSIDE = "a file that no job made"

HOME = re.compile(r"~\w*[/\\]")
PATH_IN_TEXT = re.compile(r"""(?:file:|(?<![\w:./…-]))(?:~?/|[A-Za-z]:\\|\\\\)[^\s"',;]+""")
"""An absolute path inside a longer text, such as JSON; not one in a URL."""

Statement = dict[str, Any]
Resource = dict[str, Any]


class ExpertId(NamedTuple):
    """Which expert: experiment, name and seed."""

    experiment: str
    expert: str
    seed: str

    @property
    def folder(self) -> str:
        """The folder of the expert below that of the experiment."""
        return EXPERT.format(expert=self.expert, seed=self.seed)

    def __str__(self) -> str:
        return f"'{self.expert}', seed {self.seed}, of experiment '{self.experiment}'"


class Ids:
    """The names of files in statements.

    Args:
        records: the jobs that made files; other files keep only the last part of an absolute path.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._below = {
            file.path: below
            for record in records
            for file in record.outputs
            if (below := below_experiment(record, file.path))
        }

    def of(self, path: str) -> str:
        """Return the name of a file."""
        if not is_absolute(path):
            return path
        below = self._below.get(path)
        return f"results/{below}" if below else shortened(path)


def below_experiment(record: Record, path: str) -> str | None:
    """Return where an output lies below the folder of all results; None if its stage is unknown."""
    parts = PurePosixPath(path).parts
    stage = STAGES.get(record.rule)
    for start in range(len(parts)):
        below = "/".join(parts[start:])
        if ".." not in parts[start:] and stage and stage.wildcards_of(below) is not None:
            in_store = record.experiment in STORES
            return below if in_store else f"{record.experiment}/{below}"
    return None


def is_made_by_a_stage(path: str) -> bool:
    """Return whether a path looks like a file that a job of some stage writes."""
    parts = PurePosixPath(path).parts
    tails = ["/".join(parts[start:]) for start in range(1, len(parts))]
    return any(stage.wildcards_of(tail) is not None for stage in STAGES.values() for tail in tails)


def is_absolute(text: str) -> bool:
    """Return whether a text is an absolute path, on any system, or one below a home folder."""
    return bool(HOME.match(text)) or (
        text.startswith(("/", "file:", "\\\\")) or PureWindowsPath(text).is_absolute()
    )


def shortened(path: str) -> str:
    """Return the last part of a path, after an ellipsis."""
    return f"…/{PureWindowsPath(path).name}"


def job_statement(record: Record, ids: Ids) -> Statement:
    """Return the statement about a job: its outputs, and what they were made from.

    Args:
        record: the record of the job.
        ids: the names of files.
    """
    raw = [_resource(file, ids) for file in record.outputs if _is_raw(file)]
    read = [_resource(file, ids) for file in record.inputs]
    return _statement(
        [_resource(file, ids, role=False) for file in record.outputs],
        JOB,
        external=portable(record.parameters),
        internal={
            "wildcards": record.wildcards,
            "seeds": record.seeds,
            "device": record.machine.device,
            "threads": record.machine.threads,
            "running": portable(record.running),
        },
        dependencies=[*raw, *read, *_code([record])],
        code=[record.code],
        metadata={
            "invocationId": digest_of(record.model_dump(mode="json", exclude={"seal"})),
            "startedOn": _time(record.started),
            "finishedOn": _time(record.ended),
        },
        byproducts=[_record_resource(record)],
    )


def expert_statement(
    expert: ExpertId, records: Mapping[str, Record], fingerprints: str | None = None
) -> Statement:
    """Return the statement about the folder of an expert, with its whole lineage.

    Args:
        expert: the expert.
        records: the records of all jobs of the lineage, by path.
        fingerprints: SHA-256 of the table of fingerprints, if the folder has one.
    """
    jobs = [records[path] for path in sorted(records)]
    ids = Ids(jobs)
    made = {file.path for record in jobs for file in record.outputs}
    files = sorted(files_of(expert, jobs).items())
    leaves = {file.path: file for record in jobs for file in record.inputs}
    leaves = {path: file for path, file in leaves.items() if path not in made}
    pinned = {file.path: file for job in jobs for file in job.outputs if _is_raw(file)}
    pinned |= {f.path: f for job in jobs if job.rule == "fetch" for f in job.outputs}
    sources = sorted((pinned | leaves).items())
    return _statement(
        [{"name": name, "digest": {"sha256": digest}} for name, digest in files],
        EXPERT_WITH_LINEAGE,
        external={**expert._asdict(), "parameters": _parameters(jobs)},
        internal={"seeds": sorted({seed for record in jobs for seed in record.seeds})},
        dependencies=[
            *(_resource(file, ids) for _, file in sources),
            *_code(jobs),
            *map(_record_resource, jobs),
        ],
        code=[record.code for record in jobs],
        metadata={
            "invocationId": digest_of([record_digest(record) for record in jobs]),
            "startedOn": _time(min(record.started for record in jobs)),
            "finishedOn": _time(max(record.ended for record in jobs)),
        },
        byproducts=[{"name": "fingerprints", "digest": {"sha256": fingerprints}}]
        if fingerprints
        else [],
    )


def files_of(expert: ExpertId, records: Iterable[Record]) -> dict[str, str]:
    """Return the SHA-256 of each file of an expert's folder, by its path in the folder."""
    place = f"{expert.experiment}/{expert.folder}/"
    return {
        below.removeprefix(place): file.sha256
        for record in records
        if record.experiment == expert.experiment
        for file in record.outputs
        if (below := below_experiment(record, file.path)) and below.startswith(place)
    }


def statement_text(statement: Statement) -> str:
    """Return the text of a statement's file, after in-toto's own package has read it.

    Raises:
        TailproofError: in-toto's package is missing or refuses the statement.
    """
    check_statement(statement)
    return json_text(statement)


def check_statement(statement: Any) -> None:
    """Check that a value is an in-toto Statement v1 about SLSA Provenance v1.

    Raises:
        TailproofError: it is not, or in-toto's package is missing.
    """
    with needs_extra():
        from google.protobuf.json_format import ParseDict, ParseError
        from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
        from in_toto_attestation.v1 import statement as in_toto
        from in_toto_attestation.v1 import statement_pb2
    try:
        message = ParseDict(statement, statement_pb2.Statement())
        in_toto.Statement.copy_from_pb(message).validate()
        if message.predicate_type != PREDICATE:
            raise ValueError(f"its predicate is {message.predicate_type!a:.80}")
        ParseDict(statement["predicate"], provenance_pb2.Provenance())
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise TailproofError(
            f"it is not an in-toto Statement v1 with the predicate {PREDICATE} ({reason:.200})"
        ) from None


@contextmanager
def needs_extra() -> Iterator[None]:
    """Import packages of the extra `sign`; one sentence says which one is missing."""
    try:
        yield
    except ImportError as error:
        raise TailproofError(
            f"the package {error.name} is missing, which attesting, signing and verifying need: "
            "run `pip install 'tailproof[sign]'`"
        ) from None


def record_digest(record: Record) -> str:
    """Return the SHA-256 of a record's file."""
    return sha256_bytes(record.text().encode())


def portable(value: Any) -> Any:
    """Return plain values with absolute paths reduced to their last part."""
    if isinstance(value, dict):
        return {key: portable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [portable(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if is_absolute(value):
        return shortened(value)
    return PATH_IN_TEXT.sub(lambda path: shortened(path.group()), value)


def _statement(
    subject: list[Resource],
    build_type: str,
    *,
    external: dict[str, Any],
    internal: dict[str, Any],
    dependencies: list[Resource],
    code: list[Code],
    metadata: dict[str, str],
    byproducts: list[Resource],
) -> Statement:
    versions = {
        "tailproof": {part.version for part in code},
        "python": {part.python for part in code},
        "snakemake": {part.packages.get("snakemake", "unknown") for part in code},
    }
    return {
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": build_type,
                "externalParameters": external,
                "internalParameters": internal,
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER,
                    "version": {name: ", ".join(sorted(own)) for name, own in versions.items()},
                },
                "metadata": metadata,
                "byproducts": byproducts,
            },
        },
    }


def _parameters(jobs: list[Record]) -> dict[str, list[dict[str, Any]]]:
    """Return the parameters of each rule, each once with the jobs that had them."""
    grouped: dict[str, dict[str, dict[str, Any]]] = {}
    for record in jobs:
        parameters = portable(record.parameters)
        group = grouped.setdefault(record.rule, {}).setdefault(
            digest_of(parameters), {"jobs": [], "parameters": parameters}
        )
        group["jobs"].append(f"{record.experiment}/{record.name}")
    return {rule: list(groups.values()) for rule, groups in grouped.items()}


def _resource(file: File, ids: Ids, *, role: bool = True) -> Resource:
    resource: Resource = {"name": ids.of(file.path), "digest": {"sha256": file.sha256}}
    kind = next((text for end, text in ROLES.items() if file.path.endswith(end)), None)
    if role and (kind or not is_made_by_a_stage(file.path)):
        resource["annotations"] = {"role": kind or OUTSIDE}
    return resource


def _is_raw(file: File) -> bool:
    return PurePosixPath(file.path).name == RAW


def _record_resource(record: Record) -> Resource:
    return {
        "name": f"record of {record.experiment}/{record.rule}/{record.name}",
        "digest": {"sha256": record_digest(record)},
        "mediaType": "application/json",
    }


def _code(records: list[Record]) -> list[Resource]:
    """Return the code, its commits and the environments of jobs, each once."""
    resources: dict[tuple[str, str], Resource] = {}
    for record in records:
        for resource in _code_of(record):
            key = resource["name"], digest_of(resource["digest"])
            resources.setdefault(key, resource)
    return [resources[key] for key in sorted(resources)]


def _code_of(record: Record) -> Iterable[Resource]:
    code = record.code
    version = {"version": code.version}
    yield {
        "name": f"code of {record.rule}",
        "digest": {"sha256": code.closure},
        "annotations": {"role": "code that can affect the result", **version},
    }
    yield {
        "name": "code of tailproof.runtime",
        "digest": {"sha256": code.runtime},
        "annotations": {"role": "code that runs jobs", **version},
    }
    environment = {"python": code.python, "packages": code.packages}
    yield {
        "name": f"environment of {record.rule}",
        "digest": {"sha256": digest_of(environment)},
        "annotations": {"role": "environment", **environment},
    }
    if code.commit:
        yield {"name": "git commit", "digest": {"gitCommit": code.commit}}
    if code.difference:
        yield {
            "name": "differences from the git commit",
            "digest": {"sha256": code.difference},
        }


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
