"""The files of an attestation in an expert's folder, and whether they belong together.

An attestation is the folder `FOLDER` in the folder of an expert: a statement, the records of all
jobs of its lineage, and maybe fingerprints of the images. It needs nothing else of the project, so
that a copy of the expert's folder is enough.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tailproof.digests import sha256_files
from tailproof.files import json_text, parse_json, unreadable
from tailproof.provenance.attestation_files import (
    ENVELOPE,
    FINGERPRINTS,
    FOLDER,
    OF_GIT,
    RECORDS,
    SIGNATURE,
    STATEMENT,
)
from tailproof.provenance.statements import (
    EXPERT_WITH_LINEAGE,
    RAW,
    ExpertId,
    Ids,
    Statement,
    check_statement,
    expert_statement,
    is_made_by_a_stage,
)
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import File, Record, read_record
from tailproof.text import listed
from tailproof.untrusted_files import read_text
from tailproof.untrusted_text import printable

READS_OTHERS = ("prepare", "fetch")
"""Stages whose inputs may be files of others with the names of results."""

LARGEST = 64 * 2**20  # bytes of a statement


@dataclass(frozen=True)
class AttestedFolder:
    """The attestation in the folder of an expert.

    Attributes:
        path: the folder of the expert.
        text: the text of the statement.
        statement: the statement.
        expert: which expert it is about.
        records: the records of its lineage, by path in the folder.
    """

    path: Path
    text: str
    statement: Statement
    expert: ExpertId
    records: dict[str, Record]

    @classmethod
    def read(cls, path: str | Path) -> "AttestedFolder":
        """Read the attestation.

        Raises:
            TailproofError: there is none, or a file of it is damaged, was edited or is of another
                version.
        """
        path = Path(path)
        place = path / STATEMENT
        if not path.is_dir():
            raise TailproofError(f"{path} is not a folder, expected the folder of an expert")
        if not place.is_file():
            raise TailproofError(
                f"{path} has no {STATEMENT}: run `tailproof attest NAME` where the expert was "
                "trained, and copy the whole folder again"
            )
        text = read_text(place, limit=LARGEST)
        statement = read_statement(place, text, EXPERT_WITH_LINEAGE)
        parameters = statement["predicate"]["buildDefinition"].get("externalParameters", {})
        names = [parameters.get(name) for name in ExpertId._fields]
        if not all(isinstance(name, str) and name for name in names):
            raise TailproofError(
                f"{place} does not name the expert that it is about, expected the fields "
                f"{listed(list(ExpertId._fields))}: copy the whole folder again"
            )
        return cls(path, text, statement, ExpertId(*names), _read_records(path / RECORDS))

    @cached_property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each file in the folder, by its path in the folder.

        Raises:
            TailproofError: there is a link or something else that is no regular file.
        """
        return digests_of(self.path)

    @property
    def raw(self) -> list[File]:
        """The tables that pin the raw data."""
        made = (file for record in self.records.values() for file in record.outputs)
        return [file for file in made if Path(file.path).name == RAW]

    def problems(self) -> list[str]:
        """Return a sentence for each thing that does not hold."""
        found = [*self._other_place(), *self._other_files(), *self._other_records()]
        return found or list(self._other_statement())

    def _other_place(self) -> Iterator[str]:
        """Report an expert that lies where the workflow writes another one."""
        *_, experts, expert, seed = ("", "", *self.path.resolve().parts)
        ours = f"experts/{expert}/{seed}"
        if experts == "experts" and seed.startswith("seed-") and ours != self.expert.folder:
            yield (
                f"{self.path} is the place of another expert, but its statement is about "
                f"{self.expert}: move the folder to the place of that expert"
            )

    def _other_files(self) -> Iterator[str]:
        """Compare the files of the folder with the subject of the statement."""
        subject = {
            file.get("name", ""): file["digest"].get("sha256") for file in self.statement["subject"]
        }
        files = {name: digest for name, digest in self.files.items() if not _is_ours(name)}
        if missing := sorted(subject.keys() - files.keys()):
            yield (
                f"{self.path} lacks {listed(missing)}, which its statement lists: copy the whole "
                "folder again"
            )
        known = {*subject, STATEMENT, ENVELOPE, FINGERPRINTS, SIGNATURE, *self.records}
        if added := sorted(self.files.keys() - known):
            yield (
                f"{self.path} has {listed(added)}, which its statement does not list: remove what "
                "was added"
            )
        changed = [name for name in files if files[name] != subject.get(name, files[name])]
        if changed:
            first = changed[0]
            yield (
                f"{self.path} has files that differ from its statement ({listed(changed)}): the "
                f"first has the SHA-256 {files[first][:12]}…, expected {str(subject[first])[:12]}…"
            )

    def _other_records(self) -> Iterator[str]:
        """Compare what jobs read with what other jobs wrote."""
        made = {file.path: (file, job) for job in self.records.values() for file in job.outputs}
        ids = Ids(self.records.values())
        gaps = set()
        for record in self.records.values():
            for file in record.inputs:
                if file.path not in made:
                    if record.rule not in READS_OTHERS and is_made_by_a_stage(file.path):
                        gaps.add(ids.of(file.path))
                    continue
                written, maker = made[file.path]
                if written.sha256 != file.sha256:
                    yield (
                        f"{self.path / RECORDS}: {record.rule} {record.name} read "
                        f"{ids.of(file.path)} with the SHA-256 {file.sha256[:12]}…, but "
                        f"{maker.rule} {maker.name} wrote {written.sha256[:12]}…"
                    )
        if gaps:
            yield (
                f"{self.path / RECORDS} lacks the records of the jobs that wrote "
                f"{listed(sorted(gaps))}: copy the whole folder again"
            )

    def _other_statement(self) -> Iterator[str]:
        """Compare the statement with the one that the records give."""
        if not self.records:
            yield (
                f"{self.path / RECORDS} has no records, which the statement is derived from: copy "
                "the whole folder again"
            )
            return
        expected = expert_statement(self.expert, self.records, self.files.get(FINGERPRINTS))
        if self.text != json_text(expected):
            field = first_difference(self.statement, expected) or "layout"
            yield f"{self.path / STATEMENT} does not match its records: {field} differs"


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder by its path in it, without git's own files.

    Raises:
        TailproofError: there is a link or something else that is no regular file.
    """
    names = sorted(_names(folder))
    return dict(zip(names, sha256_files([folder / name for name in names]), strict=True))


def read_statement(path: Path, text: str, build_type: str) -> Statement:
    """Return the statement in a text.

    Args:
        path: where the text is from.
        text: JSON.
        build_type: what the statement must be about.

    Raises:
        TailproofError: it is not such a statement.
    """
    try:
        statement = parse_json(text)
    except ValueError as error:
        raise TailproofError(f"{path} is not valid JSON ({error}): copy it again") from None
    try:
        check_statement(statement)
    except TailproofError as error:
        raise TailproofError(f"{path}: {error}") from None
    definition = statement["predicate"].get("buildDefinition")
    kind = definition.get("buildType") if isinstance(definition, dict) else None
    if kind != build_type:
        raise TailproofError(
            f"{path} is of the build type {kind!a:.80}, expected {build_type}: another program or "
            "another version of Tailproof wrote it"
        )
    return statement


def refuse(sentences: Iterable[str], most: int = 10) -> None:
    """Raise an error that lists problems, if there are any."""
    if problems := list(sentences):
        more = [f"and {len(problems) - most:,} more"] * (len(problems) > most)
        raise TailproofError("\n".join([*map(printable, problems[:most]), *more]))


def first_difference(one: Any, other: Any, above: str = "") -> str | None:
    """Return the dotted key of the first value that differs between two plain values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if key not in one or key not in other:
                return f"{above}{key}"
            if found := first_difference(one[key], other[key], f"{above}{key}."):
                return found
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        different = (first_difference(*pair, f"{above}{place}.") for place, pair in pairs)
        return next(filter(None, different), None)
    return None if one == other else above.rstrip(".") or "the whole"


def record_place(record: Record) -> str:
    """Return the path of a record in the folder of an expert."""
    return f"{RECORDS}/{record.experiment}/{record.rule}/{record.name}.json"


def _read_records(folder: Path) -> dict[str, Record]:
    records = {}
    for path in sorted(folder.glob("*/*/*.json")):
        record = read_record(path)
        if record_place(record) != f"{RECORDS}/{path.relative_to(folder).as_posix()}":
            raise TailproofError(
                f"{path} is the record of {record.experiment}/{record.rule}/{record.name}: it was "
                "copied or renamed; copy the whole folder again"
            )
        records[record_place(record)] = record
    return records


def _is_ours(name: str) -> bool:
    """Return whether a file belongs to the attestation or its signatures, not to the expert."""
    return name == SIGNATURE or name.startswith(f"{FOLDER}/")


def _names(folder: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, without what belongs to git."""

    def fail(error: OSError) -> None:
        raise unreadable(error.filename, error)

    for place, folders, files in os.walk(folder, onerror=fail):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in OF_GIT]
        for name in (*folders, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                raise TailproofError(
                    f"{path} is a symbolic link, expected a file: copy the folder without links"
                )
            if stat.S_ISREG(mode):
                if Path(place) != folder or name not in OF_GIT:
                    yield path.relative_to(folder).as_posix()
            elif not stat.S_ISDIR(mode):
                raise TailproofError(f"{path} is a pipe or a device, expected a regular file")


def passed_over(folder: Path) -> list[str]:
    """Return git's own files in a folder, which no signature covers."""
    return [name for name in OF_GIT if (folder / name).exists()]
