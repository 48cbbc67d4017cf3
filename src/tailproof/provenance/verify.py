"""Verifies attested folders: their files, statements, records and signatures.

It needs no project and no network, only the folder and the signer's public key.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

from tailproof.digests import sha256_files
from tailproof.files import json_text
from tailproof.provenance.attestation_files import (
    ENVELOPE,
    ENVELOPES,
    FINGERPRINTS,
    FOLDER,
    REPRODUCTION,
    REPRODUCTION_PAGE,
    SIGNATURE,
    STATEMENT,
    STATEMENTS,
)
from tailproof.provenance.attested_folder import AttestedFolder, passed_over, refuse
from tailproof.provenance.reproduction_folder import ReproductionFolder
from tailproof.provenance.reproduction_report import summary
from tailproof.provenance.signatures import Identity, PublicKey, signed_files
from tailproof.provenance.statements import Ids, below_experiment, job_statement
from tailproof.runtime.records import File, Record, read_record
from tailproof.terminal import Console
from tailproof.text import listed, quantity
from tailproof.untrusted_files import read_text

PROVENANCE = "provenance"
AGAIN = "run `tailproof attest` again in the project"
"""Folder of the records of an experiment, below that of the experiment."""


@dataclass
class Verification:
    """What is proven, and what is not.

    Attributes:
        proven: sentences, without their first words "it is proven".
        open: sentences about what nobody should take for proven.
    """

    proven: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


def verify(folder: str | Path, signer: PublicKey | Identity | None) -> Verification:
    """Verify the folder of an expert, of an experiment with all its experts and jobs, or a report.

    Args:
        folder: the folder, or a copy of it.
        signer: whose signature it must have; None to compare its files alone.

    Raises:
        TailproofError: something does not hold.
    """
    folder = Path(folder)
    result = Verification()
    if signer is None:
        result.open.append("who made it: name the public key of its signer with --key")
    if ReproductionFolder.is_at(folder):
        _verify_report(folder, signer, result)
        return result
    if (folder / STATEMENTS).is_dir():
        _verify_experiment(folder, signer, result)
    else:
        _verify_expert(folder, signer, result)
    result.open += [
        "that the records are true: whoever wrote or signed them could have written others; to "
        "check, train the expert again from the raw data, and compare digests",
        "the raw data, the pretrained weights and the code themselves: only their digests are here",
        "when it was made: the times in the records are those of the machine's clock",
    ]
    if ignored := passed_over(folder):
        result.open.append(f"{listed(ignored)}: OpenSSF Model Signing leaves out git's own files")
    return result


def _verify_expert(
    folder: Path, signer: PublicKey | Identity | None, result: Verification
) -> AttestedFolder:
    attested = AttestedFolder.read(folder)
    refuse(attested.problems())
    if signer is not None:
        signer.verify_folder(attested.path, attested.files)
        if isinstance(signer, PublicKey):
            signer.verify_envelope(attested.path / ENVELOPE, attested.text)
        result.proven.append(
            f"{quantity(len(attested.files) - 1, 'file')} are exactly those that the holder of "
            f"{signer} signed; none was added or removed"
        )
    elif (attested.path / SIGNATURE).exists():
        signed_files(attested.path / SIGNATURE)
    subject = attested.statement["subject"]
    result.proven.append(
        f"the statement is about these {quantity(len(subject), 'file')}: expert {attested.expert}"
    )
    raw = listed([f"raw.parquet {file.sha256[:12]}…" for file in attested.raw])
    result.proven.append(
        f"the records of {quantity(len(attested.records), 'job')} agree with the statement and "
        f"with each other, from the raw data ({raw or 'none'}) to these files"
    )
    if FINGERPRINTS in attested.files:
        result.proven.append("the fingerprints of the images are those that the statement lists")
    return attested


def _verify_report(folder: Path, signer: PublicKey | Identity | None, result: Verification) -> None:
    report = ReproductionFolder.read(folder)
    refuse(report.problems())
    if signer is not None:
        signer.verify_folder(report.path, report.files)
        result.proven.append(
            f"{REPRODUCTION} and {REPRODUCTION_PAGE} are exactly those that the holder of {signer} "
            "signed"
        )
    content = report.content
    result.proven.append(
        f"the page says what {REPRODUCTION} says of '{content['experiment']}': of "
        f"{quantity(content['recorded_jobs'], 'job')}, {len(content['jobs'])} ran again: "
        f"{summary(content)}"
    )
    result.open.append(
        "that these jobs ran, and where: whoever signed could have written another report; to "
        "check, run `tailproof reproduce` yourself"
    )


def _verify_experiment(
    folder: Path, signer: PublicKey | Identity | None, result: Verification
) -> None:
    """Verify the statements about all jobs of an experiment, and its attested experts."""
    records = {}
    for path in sorted((folder / PROVENANCE).glob("*/*.json")):
        record = read_record(path)
        records[path.relative_to(folder / PROVENANCE).as_posix()] = record
    refuse([*_other_statements(folder, records), *_other_outputs(folder, records)])
    if others := _files_of_no_job(folder, records):
        result.open.append(
            f"{listed(others)}: no job wrote {'it' if len(others) == 1 else 'them'}, and no "
            "signed statement covers that"
        )
    if isinstance(signer, PublicKey):
        for name in records:
            text = read_text(folder / STATEMENTS / name)
            signer.verify_envelope(folder / ENVELOPES / name, text)
        result.proven.append(
            f"the statements about {quantity(len(records), 'job')} were signed by the holder of "
            f"{signer}"
        )
    elif signer is not None:
        result.open.append("the statements about jobs: without a key, only experts are signed")
    result.proven.append(
        f"the statements about {quantity(len(records), 'job')} are what their records give, and "
        "all files that the jobs wrote are those of the statements"
    )
    for place in sorted(folder.glob("experts/*/seed-*")):
        if (place / STATEMENT).is_file():
            attested = _verify_expert(place, signer, result)
            refuse(_older_records(place, attested, records))
        else:
            result.open.append(f"{place}: it is not attested")


def _other_statements(folder: Path, records: dict[str, Record]) -> Iterator[str]:
    """Compare the statements about jobs with those that the records give."""
    ids = Ids(records.values())
    stated = {
        path.relative_to(folder / STATEMENTS).as_posix()
        for path in (folder / STATEMENTS).glob("*/*.json")
    }
    for name in sorted(stated - records.keys()):
        yield f"{folder / STATEMENTS / name} is about a job without a record: {AGAIN}"
    for name, record in records.items():
        path = folder / STATEMENTS / name
        if name != f"{record.rule}/{record.name}.json":
            yield (
                f"{folder / PROVENANCE / name} is the record of {record.rule} {record.name}: it "
                "was copied or renamed; copy the whole folder again"
            )
        elif name not in stated:
            yield f"{path} is missing, although its job has a record: {AGAIN}"
        elif read_text(path) != json_text(job_statement(record, ids)):
            yield f"{path} does not match the record of its job: {AGAIN}"


def _outputs(folder: Path, records: dict[str, Record]) -> dict[Path, File]:
    """Return where the files that jobs wrote are, with what their records say of them."""
    return {
        folder / below.removeprefix(f"{record.experiment}/"): file
        for record in records.values()
        for file in record.outputs
        if (below := below_experiment(record, file.path))
    }


def _files_of_no_job(folder: Path, records: dict[str, Record]) -> list[str]:
    """Return the files that no job wrote, but for records and what attests and signs them."""
    made = _outputs(folder, records)
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir() and path not in made and not _is_attested(path.relative_to(folder))
    )


def _is_attested(path: Path) -> bool:
    """Return whether a file of an experiment is a record, or is verified in another way."""
    parts = path.parts
    of_expert = parts[0] == "experts" and parts[3:4] in ((FOLDER,), (SIGNATURE,))
    of_job = path.suffix == ".json" and "/".join(parts[:-2]) in (PROVENANCE, STATEMENTS, ENVELOPES)
    return of_expert or of_job


def _other_outputs(folder: Path, records: dict[str, Record]) -> Iterator[str]:
    """Compare the files that jobs wrote with their records."""
    files = _outputs(folder, records)
    missing = sorted(path for path in files if not path.is_file())
    if missing:
        yield (
            f"{missing[0]} is missing, although a job wrote it ({quantity(len(missing), 'file')} "
            "in all): copy the whole folder again"
        )
    there = [path for path in files if path.is_file()]
    for path, digest in zip(there, sha256_files(there), strict=True):
        if digest != files[path].sha256:
            yield (
                f"{path} is not the file that its job wrote: its SHA-256 is {digest[:12]}…; copy "
                "the whole folder again"
            )


def _older_records(
    folder: Path, attested: AttestedFolder, records: dict[str, Record]
) -> Iterator[str]:
    """Compare the records in an expert's folder with those of the experiment."""
    for record in attested.records.values():
        now = records.get(f"{record.rule}/{record.name}.json")
        if record.experiment == attested.expert.experiment and now != record:
            yield (f"{folder} was attested before {record.rule} {record.name} ran again: {AGAIN}")


def print_verification(result: Verification, console: Console) -> None:
    """Print what is proven, then what is not."""
    for word, colour, sentences in (
        ("proven", "green", result.proven),
        ("not proven", "yellow", result.open),
    ):
        for sentence in sentences:
            line = Text.assemble((f"{word:<12}", colour), sentence)
            console.print(line, soft_wrap=True)
