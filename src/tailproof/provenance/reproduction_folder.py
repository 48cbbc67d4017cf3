"""The folder of a report of `tailproof reproduce`, which a stranger may have written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from tailproof.provenance.attestation_files import REPRODUCTION, REPRODUCTION_PAGE, SIGNATURE
from tailproof.provenance.attested_folder import digests_of
from tailproof.provenance.reproduce import Verdict
from tailproof.provenance.reproduction_report import page_text, passes
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import Sha256, Strict
from tailproof.text import listed
from tailproof.untrusted_files import read_json, read_text

LARGEST = 64 * 2**20  # bytes


class _Job(Strict):
    job: str
    verdict: Verdict
    different: list[str]
    why: str
    record: Sha256
    differences: dict[str, tuple[str, str]]


class _Content(Strict):
    format: Literal[1]
    experiment: str
    passed: bool
    from_raw_data: bool
    jobs: list[_Job] = Field(min_length=1)
    recorded_jobs: int = Field(ge=1)


@dataclass(frozen=True)
class ReproductionFolder:
    """A report.

    Attributes:
        path: its folder.
        files: the SHA-256 of each file, by name.
        content: what reproduction.json says, as plain values.
    """

    path: Path
    files: dict[str, str]
    content: dict[str, Any]

    @classmethod
    def is_at(cls, path: str | Path) -> bool:
        """Return whether a folder holds a report."""
        return Path(path, REPRODUCTION).exists()

    @classmethod
    def read(cls, path: str | Path) -> "ReproductionFolder":
        """Read a report.

        Raises:
            TailproofError: reproduction.json is damaged or of another version, or a file is none.
        """
        path = Path(path)
        value = read_json(path / REPRODUCTION, limit=LARGEST)
        try:
            content = _Content.model_validate(value).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise TailproofError(
                f"{path / REPRODUCTION} is not a report of this version of tailproof "
                f"({field}: {first['msg']}): run `tailproof reproduce` again"
            ) from None
        return cls(path, digests_of(path), content)

    def problems(self) -> Iterator[str]:
        """Yield a sentence for each thing that does not hold."""
        expected = {REPRODUCTION, REPRODUCTION_PAGE}
        if missing := sorted(expected - self.files.keys()):
            yield f"{self.path} lacks {listed(missing)}: copy the whole folder again"
            return
        if added := sorted(self.files.keys() - expected - {SIGNATURE}):
            yield f"{self.path} has {listed(added)}, which is not part of a report: remove it"
        if self.content["passed"] != passes(self.content):
            yield (
                f"{self.path / REPRODUCTION}: 'passed' contradicts the verdicts of its jobs: run "
                "`tailproof reproduce` again"
            )
        page = read_text(self.path / REPRODUCTION_PAGE, limit=LARGEST)
        if page != page_text(self.content):
            yield (
                f"{self.path / REPRODUCTION_PAGE} is not the page of {REPRODUCTION} next to it: "
                "run `tailproof reproduce` again"
            )
