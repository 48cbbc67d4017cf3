"""Somebody's parquet datasets with a column of encoded images.

Layouts: https://huggingface.co/docs/datasets/image_dataset (struct of bytes and path, class names
in the schema's metadata) and Hive's partitioned folders (key=value).
"""

import errno
import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np

from tailproof.config.data import Parquet
from tailproof.data.sources.base import HELD_OUT, TRAIN, Sample, Source
from tailproof.data.sources.filesystem import are_splits, walk
from tailproof.data.sources.label_tree import Labels, class_order, clean
from tailproof.data.sources.parquet_file import NULLS, TEXT, Kind, ParquetFile
from tailproof.runtime.errors import TailproofError, suggestion

NULL = "__HIVE_DEFAULT_PARTITION__"
Filter = dict[str, str | int | list[str | int]]


@dataclass(frozen=True)
class Part:
    """One parquet file.

    Attributes:
        path: relative to the dataset's root.
        pool: the pool that its rows belong to.
        keys: partition columns and their values, from the names of its folders.
    """

    path: str
    pool: str | None
    keys: dict[str, str | None]


def find_parts(root: Path, wanted: dict[str | None, str | None]) -> list[Part]:
    """List the parquet files of each pool, sorted by path; no file is opened.

    Args:
        root: the dataset's folder.
        wanted: for each pool a file, folder or pattern below root; None is root itself.

    Raises:
        TailproofError: nothing is there, a file is in two pools, or the files do not have the same
            partition columns.
    """
    parts: dict[str, Part] = {}
    for pool, name in wanted.items():
        found = sorted({file.relative_to(root).as_posix() for file in _files(root, name)})
        if not found:
            raise TailproofError(
                f"{root / (name or '')}: no .parquet file there; correct data.source"
            )
        for path in found:
            if path in parts:
                raise TailproofError(
                    f"{root / path} is in both pools: data.source.train and data.source.test must "
                    "not overlap"
                )
            parts[path] = Part(path, pool, _keys(path))
    first, *others = parts.values()
    for part in others:
        if list(part.keys) != list(first.keys):
            raise TailproofError(
                f"{root / part.path} has the partition columns {list(part.keys)}, "
                f"{first.path} has {list(first.keys)}; name one dataset in data.source.root"
            )
    if wanted == {None: None}:
        _refuse_split_files(root, parts)
    return list(parts.values())


def keep(parts: list[Part], wanted: Filter, root: Path) -> list[Part]:
    """Return the parts whose partition columns have the wanted values.

    Raises:
        TailproofError: there is no such column or no such value.
    """
    for key, values in wanted.items():
        if key not in parts[0].keys:
            known = ", ".join(parts[0].keys) or "none (there are no folders key=value)"
            raise TailproofError(
                f"{root}: data.source.filter names '{key}', which is no partition column"
                f"{suggestion(key, parts[0].keys)}; partition columns: {known}"
            )
        chosen = {str(value) for value in (values if isinstance(values, list) else [values])}
        there = {str(part.keys[key]) for part in parts}
        if not chosen or chosen - there:
            asked = f"'{min(chosen - there)}'" if chosen else "no value"
            raise TailproofError(
                f"{root}: data.source.filter asks for {asked} in '{key}', which matches nothing; "
                f"its values: {_shown(sorted(there))}"
            )
        parts = [part for part in parts if str(part.keys[key]) in chosen]
    return parts


def _files(root: Path, name: str | None) -> Iterator[Path]:
    """Yield the parquet files that are, lie below, or match root/name."""
    start = root / (name or "")
    try:
        for place in [start] if start.exists() else root.glob(name or ""):
            for file in walk(place) if place.is_dir() else [place]:
                if file.suffix == ".parquet" and not _ignored(file.relative_to(root)):
                    yield file
    except OSError as error:
        raise TailproofError(f"{error.filename} cannot be read: {error.strerror}") from None


def _ignored(path: Path) -> bool:
    """Return whether Hive's readers pass a file over: _metadata, half-written ones."""
    return any(part.startswith(("_", ".")) for part in path.parts)


def _keys(path: str) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in PurePosixPath(path).parent.parts)
    named = {unquote(key): unquote(value) for key, equals, value in pairs if key and equals}
    return {key: None if value == NULL else value for key, value in named.items()}


def _refuse_split_files(root: Path, paths: dict[str, Part]) -> None:
    words = {re.split(r"[-_.]", word)[0].lower() for path in paths for word in path.split("/")}
    if are_splits(words):
        raise TailproofError(
            f"{root} holds files of a training and of another set: set data.source.train and "
            "data.source.test (patterns like data/train-*.parquet are understood)"
        )


def _shown(values: list[str]) -> str:
    more = f" and {len(values) - 20} more" if len(values) > 20 else ""
    return ", ".join(f"'{value}'" for value in values[:20]) + more


SPOOL = 128 << 20  # bytes; what is more than that goes to a temporary file


class ParquetSource(Source):
    """Rows of parquet files; a sample's id is its file and row, or what the column `id` holds.

    Partition columns are columns like others and win over one of the same name in the files.
    """

    def __init__(self, config: Parquet) -> None:
        self.config = config
        root = Path(config.root)
        self.root = root.parent if root.is_file() else root
        self.ranks = tuple(config.ranks)
        self._file: ParquetFile | None = None

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The labels of each rank, in the schema's order where it names them, else sorted."""
        listing = self._listing
        classes = {}
        for rank, names in listing.labels.names.items():
            kind = listing.kinds.get(rank, TEXT)  # partition columns are text
            order = kind.names or class_order(names)
            met = set(names)
            classes[rank] = [name for name in order if name in met]
        return classes

    def files(self) -> list[Path]:
        """Return the parquet files that the filter keeps; walks the folders once."""
        return [self.root / part.path for part in self._parts]

    def __len__(self) -> int:
        return len(self._listing)

    def samples(self) -> Iterator[Sample]:
        """Yield the rows file by file, the training pool first."""
        listing = self._listing
        ids = list(listing.ids)
        for number, part in enumerate(self._parts):
            first = listing.starts[number]
            for sample in range(first, listing.starts[number + 1]):
                row = sample - first
                yield Sample(
                    ids[sample] if self.config.id else f"{part.path}:{row}",
                    listing.labels.of(sample),
                    part.path,
                    row,
                    part.pool,
                    listing.groups[sample] if self.config.group else None,
                )

    def read(self, path: str, row: int | None) -> bytes:
        """Return the image's own bytes; quick for rows in the order of `samples`."""
        file = self.root / path
        if self._file is None or self._file.path != file:
            if self._file is not None:
                self._file.close()
            self._file = ParquetFile(file, self.config)
        return self._file.read(row)

    def read_many(self, wanted: Sequence[tuple[str, int | None]]) -> Iterator[bytes]:
        """Yield the images in the order wanted, having read each file once from end to end.

        In between they lie in memory, or in a temporary file where they are many.
        """
        places = np.zeros((len(wanted), 2), np.int64)
        with tempfile.SpooledTemporaryFile(SPOOL) as spool:
            try:
                for index in sorted(range(len(wanted)), key=wanted.__getitem__):
                    image = self.read(*wanted[index])
                    places[index] = spool.tell(), len(image)
                    spool.write(image)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise TailproofError(
                    f"no space left in {tempfile.gettempdir()} for {len(wanted)} images in "
                    "between: set TMPDIR to a larger disk, or raise data.shards_per_split"
                ) from error
            for start, size in places.tolist():
                spool.seek(start)
                yield spool.read(size)

    @cached_property
    def _parts(self) -> list[Part]:
        config = self.config
        if not Path(config.root).exists():
            raise TailproofError(f"{config.root} does not exist; correct data.source.root")
        whole = Path(config.root).name if Path(config.root).is_file() else None
        if config.train is None:
            wanted = {None: whole}
        elif whole is not None:
            raise TailproofError(
                f"{config.root} is a file: leave data.source.train out, or name its folder as root"
            )
        elif config.test is None:
            wanted = {None: config.train}
        else:
            wanted = {TRAIN: config.train, HELD_OUT: config.test}
        return keep(find_parts(self.root, wanted), config.filter, self.root)

    @cached_property
    def _listing(self) -> "_Listing":
        listing = _Listing(self.config, self.root)
        for part in self._parts:
            listing.add(part)
        if not len(listing):
            raise TailproofError(f"{self.config.root}: its parquet files hold no row")
        listing.labels.check(self.config.root, listing.where)
        return listing


class _Listing:
    """The rows of all files, by column.

    Attributes:
        parts: the files.
        starts: the first row of each file among all rows, and the number of all rows.
        labels: each row's labels.
        kinds: what the columns hold, which is the same in all files.
        ids: each row's sample id -> the row, where the configuration names a column of ids.
        groups: each row's group, where it names a column of groups.
    """

    def __init__(self, config: Parquet, root: Path) -> None:
        self.config, self.root = config, root
        self.parts: list[Part] = []
        self.starts = [0]
        self.labels = Labels(config.ranks)
        self.kinds: dict[str, Kind] = {}
        self.ids: dict[str, int] = {}
        self.groups: list[str | None] = []

    def __len__(self) -> int:
        return self.starts[-1]

    def add(self, part: Part) -> None:
        """Append the rows of a file, of which no image is read."""
        path = self.root / part.path
        self.parts.append(part)
        columns = dict.fromkeys(
            [*self.config.ranks, *filter(None, [self.config.id, self.config.group])]
        )
        with closing(ParquetFile(path, self.config)) as file:
            file.check_image()
            own = {name: file.kind(name) for name in columns if name not in part.keys}
            self._check_kinds(own, path)
            fixed = {name: value and clean(value) for name, value in part.keys.items()}
            for row, cells in enumerate(file.texts(own), start=self.starts[-1]):
                self._add_row({**fixed, **cells}, row)
            self.starts.append(self.starts[-1] + len(file))

    def where(self, row: int) -> str:
        """Return the file of a row, and its row in it."""
        number = bisect_right(self.starts, row, hi=len(self.parts)) - 1
        return f"{self.root / self.parts[number].path}, row {row - self.starts[number]}"

    def _add_row(self, cells: dict[str, str | None], row: int) -> None:
        for rank in self.config.ranks:
            self.labels.add(rank, cells[rank])
        if self.config.group:
            self.groups.append(cells[self.config.group])
        if not self.config.id:
            return
        sample_id = cells[self.config.id]
        if sample_id is None:
            raise TailproofError(
                f"{self.where(row)}: its column '{self.config.id}' holds no sample id; fill it in, "
                "or leave data.source.id out"
            )
        if sample_id in self.ids:
            raise TailproofError(
                f"{self.where(row)}: the sample id '{sample_id}' stands a second time, first in "
                f"{self.where(self.ids[sample_id])}; make the column '{self.config.id}' unique, or "
                "leave data.source.id out"
            )
        self.ids[sample_id] = row

    def _check_kinds(self, kinds: dict[str, Kind], path: Path) -> None:
        """Refuse a column that holds something else than in the files before."""
        for name, kind in kinds.items():
            if kind == NULLS:
                continue
            known = self.kinds.setdefault(name, kind)
            if kind != known:
                found = kind.name if kind.name != known.name else "other class labels"
                raise TailproofError(
                    f"{path}: its column '{name}' holds {found}, but {known.name} in "
                    f"{self.root / self.parts[0].path}; write both alike"
                )
