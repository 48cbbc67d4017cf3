"""The jobs that files were made by, and the images that those jobs read."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tailproof.data.fingerprints import ImageTables
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import experiment_of, read_ledger
from tailproof.runtime.records import Record


def records_behind(paths: Iterable[str]) -> list[Record]:
    """Return the records of all jobs that files were made by, back to the raw data.

    Raises:
        TailproofError: the record of a job is missing or cannot be read.
    """
    ledger_of = cache(read_ledger)
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
