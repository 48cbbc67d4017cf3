"""Reads the official split of each image from a column."""

from tailproof.data.sources.base import HELD_OUT, TRAIN, VAL
from tailproof.data.sources.label_column import LabelColumn, Where
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed

POOL_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VAL),
    **dict.fromkeys(("test", "testing"), HELD_OUT),
}
"""The pool of each value of a column of splits, in lower case."""
EXPECTED = "train (or training), val (valid, validation, dev) or test (testing)"


def pools_of(name: str, column: LabelColumn, table: str, where: Where) -> list[str]:
    """Return the pool of each sample.

    Raises:
        TailproofError: a cell is empty or has another value, or no sample is of train or of test.
    """
    counts = column.counts()
    empty = [sample for sample, code in enumerate(column.codes) if code < 0]
    problems = [
        f"'{value}' in {counts[value]} rows (first at {where(column.first(value))})"
        for value in counts
        if value.lower() not in POOL_NAMES
    ]
    if empty:
        problems.append(f"no value in {len(empty)} rows (first at {where(empty[0])})")
    if problems:
        raise TailproofError(
            f"{table}: the column '{name}' of data.source.split has {listed(problems)}, expected "
            f"{EXPECTED}: rename these values, or leave out data.source.split"
        )
    pools = {value: POOL_NAMES[value.lower()] for value in counts}
    for pool, word in ((TRAIN, "train"), (HELD_OUT, "test")):
        if pool not in pools.values():
            shown = ", ".join(f"'{value}' ({count} rows)" for value, count in counts.items())
            raise TailproofError(
                f"{table}: the column '{name}' of data.source.split has no row of {word}, only "
                f"{shown}: rename a value to {word}, or leave out data.source.split, so that "
                "data.test_fraction is held out"
            )
    return [pools[column.names[code]] for code in column.codes]
