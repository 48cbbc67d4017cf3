"""Writes statements about the jobs and the experts of an experiment, for people without it.

A job's statement goes to ``results/NAME/attestations/``. An expert's statement goes to its own
folder, together with the records of its lineage, so that a copy of the folder can be verified. What
did not change is not written again, and keeps its signature.
"""

import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tailproof.data.fingerprint_table import write_fingerprints
from tailproof.digests import sha256_file
from tailproof.files import write_text
from tailproof.project import project_paths
from tailproof.provenance.ancestors import image_tables, records_behind
from tailproof.provenance.attestation_files import (
    ENVELOPE,
    ENVELOPES,
    FINGERPRINTS,
    FOLDER,
    SIGNATURE,
    STATEMENT,
    STATEMENTS,
)
from tailproof.provenance.attested_folder import AttestedFolder, record_place, refuse
from tailproof.provenance.audit import audited_ledger
from tailproof.provenance.statements import (
    ExpertId,
    Ids,
    expert_statement,
    job_statement,
    statement_text,
)
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger, read_ledger
from tailproof.runtime.records import Record
from tailproof.runtime.stages import STAGES


@dataclass(frozen=True)
class Attested:
    """What `attest` wrote.

    Attributes:
        jobs: number of jobs with a statement.
        folders: the folders of the experts.
        people: users and machines that the records name, as ``user@machine``.
    """

    jobs: int
    folders: list[Path]
    people: list[str]


def attest(experiment: str, *, fingerprints: bool = False) -> Attested:
    """Write a statement for each job, and one for each expert with its whole lineage.

    Args:
        experiment: the name of an experiment whose audit passes.
        fingerprints: whether each expert's folder gets the fingerprints of all images, from which
            `tailproof contains` answers.

    Raises:
        TailproofError: the audit does not pass, there is no expert, or the extra `sign` is missing.
    """
    return write_attestations(audited_ledger(experiment), fingerprints=fingerprints)


def write_attestations(ledger: Ledger, *, fingerprints: bool) -> Attested:
    """Write the statements about the jobs and experts of an experiment; see `attest`."""
    folder = project_paths().experiment(ledger.experiment)
    experts = expert_ids(ledger)
    if not experts:
        raise TailproofError(f"'{ledger.experiment}' has no trained expert: run snakemake first")
    statements = job_statements(ledger)
    _write_jobs(folder, statements)
    people, ledger_of = set(), cache(read_ledger)
    for expert in experts:
        files = [path for path in ledger.files if Path(path).is_relative_to(folder / expert.folder)]
        lineage = records_behind(files, ledger_of)
        _write_expert(folder / expert.folder, expert, lineage, fingerprints=fingerprints)
        people |= {f"{job.machine.user}@{job.machine.host}" for job in lineage}
    folders = [folder / expert.folder for expert in experts]
    refuse([problem for each in folders for problem in AttestedFolder.read(each).problems()])
    return Attested(len(statements), folders, sorted(people))


def expert_ids(ledger: Ledger) -> list[ExpertId]:
    """Return the experts of an experiment that have weights."""
    ids = set()
    for path, record in ledger.makers.items():
        _, *below = project_paths().inside(path) or ("",)
        wildcards = STAGES["train"].wildcards_of("/".join(below))
        if wildcards and Path(path).name == "model.safetensors":
            ids.add(ExpertId(record.experiment, wildcards["expert"], wildcards["seed"]))
    return sorted(ids)


def job_statements(ledger: Ledger) -> dict[str, str]:
    """Return the text of the statement about each job, by RULE/NAME.json."""
    ids = Ids(ledger)
    return {
        f"{record.rule}/{record.name}.json": statement_text(job_statement(record, ids))
        for record in ledger
    }


def _write_jobs(folder: Path, statements: dict[str, str]) -> None:
    """Write the statements that differ, and remove the envelopes of others."""
    for kind in (STATEMENTS, ENVELOPES):
        for path in (folder / kind).glob("*/*.json"):
            if path.relative_to(folder / kind).as_posix() not in statements:
                path.unlink()
    for name, text in statements.items():
        path = folder / STATEMENTS / name
        if not _has_text(path, text):
            (folder / ENVELOPES / name).unlink(missing_ok=True)
            write_text(path, text)


def _write_expert(
    folder: Path, expert: ExpertId, lineage: list[Record], *, fingerprints: bool
) -> None:
    """Write the attestation of an expert, unless it is there already."""
    placed = {record_place(record): record for record in lineage}
    temporary = folder / f".{FOLDER}"
    shutil.rmtree(temporary, ignore_errors=True)
    digest = None
    if fingerprints:
        table = temporary / Path(FINGERPRINTS).name
        write_fingerprints(image_tables(lineage), table)
        digest = sha256_file(table)
    text = statement_text(expert_statement(expert, placed, digest))
    texts = {STATEMENT: text, **{place: record.text() for place, record in placed.items()}}
    if _is_written(folder, texts, digest):
        shutil.rmtree(temporary, ignore_errors=True)
        return
    for name, content in texts.items():
        write_text(temporary / Path(name).relative_to(FOLDER), content)
    (folder / SIGNATURE).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    os.replace(temporary, folder / FOLDER)


def _is_written(folder: Path, texts: dict[str, str], fingerprints: str | None) -> bool:
    """Return whether a folder has exactly this attestation, signed or not."""
    files = {
        path.relative_to(folder).as_posix()
        for path in (folder / FOLDER).rglob("*")
        if path.is_file()
    }
    expected = {*texts, *([FINGERPRINTS] if fingerprints else [])}
    if files - {ENVELOPE} != expected or not all(
        _has_text(folder / name, text) for name, text in texts.items()
    ):
        return False
    return fingerprints is None or sha256_file(folder / FINGERPRINTS) == fingerprints


def _has_text(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()
