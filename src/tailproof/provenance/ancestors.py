"""The jobs that files were made by, and the images that those jobs read."""

from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path

from tailproof.data.fingerprint_table import ImageTables
from tailproof.project import STORES
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import Ledger, experiment_of, read_ledger
from tailproof.runtime.records import Record


def records_behind(
    paths: Iterable[str], ledger_of: Callable[[str], Ledger] | None = None
) -> list[Record]:
    """Return the records of all jobs that files were made by, back to the raw data.

    Args:
        paths: the files.
        ledger_of: reads a ledger; give one that remembers them to ask for many files.

    Raises:
        TailproofError: the record of a job is missing or cannot be read.
    """
    ledger_of = ledger_of or cache(read_ledger)
    records: dict[str, Record] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        experiment = experiment_of(path)
        if experiment is None:
            continue
        ledger = ledger_of(experiment)
        record = ledger.makers.get(path) or ledger.records.get(path)
        if record is None:
            raise TailproofError(
                f"no record lists {path}, which is part of the lineage: see `tailproof audit "
                f"{experiment}`"
            )
        if record.path not in records:
            records[record.path] = record
            waiting += [file.path for file in record.inputs]
    return [records[path] for path in sorted(records)]


def ledgers_of_stores(paths: Collection[str]) -> list[Ledger]:
    """Return the ledgers of the stores, with the records of the jobs that made some files."""
    return [read_ledger(store).of_files(paths) for store in STORES]


def image_tables(records: Iterable[Record]) -> list[ImageTables]:
    """Return the tables of each experiment whose images some of the jobs split."""
    tables = {}
    for record in records:
        if record.rule == "split":
            samples = next(f.path for f in record.inputs if f.path.endswith("/samples.parquet"))
            splits = next(f.path for f in record.outputs if f.path.endswith("/splits.parquet"))
            folder = Path(samples).parent
            tables[record.experiment] = ImageTables(
                experiment=record.experiment,
                samples=Path(samples),
                splits=Path(splits),
                thumbnails=folder / "near_duplicates" / "thumbnails.parquet",
                raw=folder / "raw.parquet",
            )
    return [tables[name] for name in sorted(tables)]
