"""Reads the official split of each image from a column, or from lists of file names."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.class_index import class_order
from tailproof.data.sources.folders.split_names import kinds_of_values
from tailproof.data.sources.tables.label_column import LabelColumn, Where
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_files import read_text

POOLS = {"train": TRAIN, "val": VAL, "test": HELD_OUT}
EXPECTED = (
    "train, val or test, or another usual name such as training, validation or dev, or TRUE and "
    "FALSE in a column such as is_test"
)


def name_group(group: str | None, pool: str | None, *, per_pool: bool) -> str | None:
    """Return the name of a group, with its pool if each pool numbers its groups from the start."""
    return f"{pool}/{group}" if group is not None and per_pool else group


def pools_of(name: str, column: LabelColumn, table: str, where: Where) -> list[str]:
    """Return the pool of each sample.

    Raises:
        TailproofError: a cell is empty or has another value, or no sample is of train or of test.
    """
    counts = column.counts()
    kinds = kinds_of_values(name, counts)
    empty = [sample for sample, code in enumerate(column.codes) if code < 0]
    problems = [
        f"'{value}' in {quantity(counts[value], 'row')} (first at {where(column.first(value))})"
        for value in counts
        if kinds[value] is None
    ]
    if empty:
        problems.append(f"no value in {quantity(len(empty), 'row')} (first at {where(empty[0])})")
    if problems:
        raise TailproofError(
            f"{table}: the column '{name}' of data.source.split has {listed(problems)}, expected "
            f"{EXPECTED}: correct these cells, or leave out data.source.split"
        )
    pools = {value: POOLS[kind] for value, kind in kinds.items() if kind}
    for pool, word in ((TRAIN, "train"), (HELD_OUT, "test")):
        if pool not in pools.values():
            shown = ", ".join(
                f"'{value}' ({quantity(count, 'row')})" for value, count in counts.items()
            )
            raise TailproofError(
                f"{table}: the column '{name}' of data.source.split has no row for {word}, only "
                f"{shown}: mark the rows of {word} as such, or leave out data.source.split, so "
                "that data.test_fraction is held out for testing"
            )
    return [pools[column.names[code]] for code in column.codes]


def compare_pools(column: LabelColumn, pools: Sequence[str | None]) -> tuple[list[str], list[str]]:
    """Return the labels that val or test has but train lacks, and those that test alone lacks.

    Both are empty if there are no pools. Images without a label do not count.
    """
    labels: dict[str | None, set[str]] = {}
    for pool, code in set(zip(pools, column.codes, strict=True)):
        if code >= 0:
            labels.setdefault(pool, set()).add(column.names[code])
    train = labels.get(TRAIN)
    if train is None:
        return [], []
    others = set().union(*labels.values()) - train
    return class_order(list(others)), class_order(list(train - labels.get(HELD_OUT, set())))


def pools_of_lists(
    lists: Mapping[str, Path], find: Callable[[str], str | None], paths: Collection[str]
) -> list[str]:
    """Return the pool of each image: that of the list which names it.

    Args:
        lists: for each pool a text file with one file name per line.
        find: returns the path of the image with a file name.
        paths: the images.

    Raises:
        TailproofError: a list names a file that is no image of the table, or an image is in no
            list or in two.
    """
    pools: dict[str, str] = {}
    problems = []
    known = frozenset(paths)
    for pool, file in lists.items():
        for line, name in _names(file):
            path = next((path for path in map(find, _readings(name)) if path in known), None)
            if path is None:
                problems.append(f"{file}, line {line}: '{name}' is not an image of the table")
            elif pools.setdefault(path, pool) != pool:
                problems.append(f"{file}, line {line}: '{name}' is also in {lists[pools[path]]}")
    unlisted = [path for path in paths if path not in pools]
    if unlisted and not problems:
        verb = "is" if len(unlisted) == 1 else "are"
        problems.append(
            f"{len(unlisted)} of {quantity(len(paths), 'image')} of the table {verb} in no list of "
            f"data.source.lists ({listed(unlisted)})"
        )
    if problems:
        raise TailproofError(f"{listed(problems, 3)}: correct the lists or the table")
    return [pools[path] for path in paths]


def _names(file: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def _readings(line: str) -> tuple[str, str, str]:
    """Return what may be the file name in a line: all of it, or what precedes the label."""
    return line, line.split(",", maxsplit=1)[0], line.rsplit(maxsplit=1)[0]
