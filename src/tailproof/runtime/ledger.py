"""The ledger: all records of an experiment, and which job made which file."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tailproof.project import project_paths
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.records import File, NewerSchema, Record, read_record, record_path
from tailproof.runtime.stages import job_of

LONGEST_NAME, LONGEST_PATH = 255, 4096
"""Bytes of the name and of the path of a file."""


@dataclass(frozen=True)
class Ledger:
    """The records of one experiment, read from the working directory.

    Attributes:
        records: by path of the record file, sorted.
        unreadable: the reason, by path of each file that is not a valid record.
    """

    experiment: str
    records: dict[str, Record]
    unreadable: dict[str, str] = field(default_factory=dict)

    @cached_property
    def makers(self) -> dict[str, Record]:
        """The record of the job that made a file, by its path."""
        return {file.path: record for record in self for file in record.outputs}

    @cached_property
    def files(self) -> dict[str, File]:
        """Every output, as its record describes it, by path."""
        return {file.path: file for record in self for file in record.outputs}

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records.values())

    def of_files(self, paths: Collection[str]) -> "Ledger":
        """Return the ledger with only the records of jobs that made one of some files."""
        records = {
            path: record
            for path, record in self.records.items()
            if any(file.path in paths for file in record.outputs)
        }
        return Ledger(self.experiment, records)


def read_ledger(experiment: str) -> Ledger:
    """Read all records of an experiment; keep the reason for each that cannot be read.

    Raises:
        NewerSchema: a newer tailproof wrote one of them.
    """
    records, unreadable = {}, {}
    for path in sorted(project_paths().provenance(experiment).glob("*/*.json")):
        try:
            record = read_record(path)
            if record.path != path.as_posix():
                unreadable[path.as_posix()] = (
                    f"{path} is a copy of the record {record.path}: delete it"
                )
            elif impossible := _impossible_paths(record):
                unreadable[path.as_posix()] = (
                    f"{path} lists {impossible[0]:.200}, which no job of {record.rule} can read "
                    "or write, so it was edited: restore the original, for example with git, or "
                    "delete it and run snakemake again"
                )
            else:
                records[record.path] = record
        except NewerSchema:
            raise
        except TailproofError as error:
            unreadable[path.as_posix()] = str(error)
    return Ledger(experiment, records, unreadable)


def _impossible_paths(record: Record) -> list[str]:
    """Return outputs that are no results of an experiment, and names that no file can have."""
    outside = [file.path for file in record.outputs if not experiment_of(file.path)]
    names = [file.path for file in [*record.inputs, *record.outputs]]
    return outside + [name for name in names if "\0" in name or _is_too_long(name)]


def _is_too_long(path: str) -> bool:
    lengths = [len(part.encode(errors="replace")) for part in path.split("/")]
    return max(lengths) > LONGEST_NAME or sum(lengths) + len(lengths) > LONGEST_PATH


def maker_path(path: str) -> str | None:
    """Return the path of the record of the job that writes a file, from the file's path alone."""
    experiment = experiment_of(path)
    job = job_of(path) if experiment else None
    return record_path(experiment, *job) if experiment and job else None


def experiment_of(path: str | Path) -> str | None:
    """Return the experiment whose results contain a path."""
    parts = project_paths().inside(path)
    return parts[0] if parts and len(parts) > 1 else None


def by_experiment(paths: Iterable[str]) -> dict[str | None, list[str]]:
    """Return paths by the experiment whose results contain them, in their order."""
    grouped: dict[str | None, list[str]] = {}
    for path in paths:
        grouped.setdefault(experiment_of(path), []).append(path)
    return grouped
