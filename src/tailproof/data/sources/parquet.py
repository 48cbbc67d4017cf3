"""Parquet datasets of other origin, with a column of encoded images.

Layouts: https://huggingface.co/docs/datasets/image_dataset (struct of bytes and path, class names
in the schema's metadata) and Hive's partitioned folders (key=value).
"""

import errno
import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import unquote

import numpy as np
from pydantic import Field, model_validator

from tailproof.config.base import Count, Name
from tailproof.config.data import (
    BelowRoot,
    Column,
    GroupPerPool,
    MissingSigns,
    RankColumns,
    SourceConfig,
    SplitColumn,
    check_missing_columns,
    check_pools,
)
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.class_index import class_order
from tailproof.data.sources.advised_commands import import_command
from tailproof.data.sources.archives.packed_files import require_unpacked
from tailproof.data.sources.base import Recognition, Sample, Skipped, Source, register_source
from tailproof.data.sources.folders.file_patterns import (
    first_files,
    pools_by_keyword,
    source_line,
)
from tailproof.data.sources.folders.filesystem import walk
from tailproof.data.sources.folders.folder_layout import quoted
from tailproof.data.sources.folders.split_keywords import split_of
from tailproof.data.sources.folders.split_names import are_splits
from tailproof.data.sources.tables.clean_columns import clean_columns
from tailproof.data.sources.tables.column_roles import guess_group, guess_ranks
from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.data.sources.tables.missing_values import text_or_none
from tailproof.data.sources.tables.official_splits import name_group, pools_of
from tailproof.data.sources.tables.parquet_file import NULLS, TEXT, Kind, ParquetFile, ParquetTable
from tailproof.data.sources.tables.rank_labels import Labels
from tailproof.files import unreadable
from tailproof.runtime.errors import TailproofError, suggestion

FIRST_ROWS = 2000
NULL = "__HIVE_DEFAULT_PARTITION__"
Filter = dict[str, str | int | list[str | int]]


@dataclass(frozen=True)
class Part:
    """One parquet file.

    Attributes:
        path: the path relative to the root of the dataset.
        pool: the pool of its rows.
        keys: partition columns and their values, read from the names of its folders.
    """

    path: str
    pool: str | None
    keys: dict[str, str | None]


def find_parts(root: Path, pools: dict[str | None, str | None]) -> list[Part]:
    """List the parquet files of each pool, sorted by path, without opening any.

    Args:
        root: the folder of the dataset.
        pools: for each pool a file, folder or pattern below root; None stands for root itself.

    Raises:
        TailproofError: there is no file, a file is in two pools, or the files have different
            partition columns.
    """
    parts: dict[str, Part] = {}
    for pool, name in pools.items():
        paths = sorted({file.relative_to(root).as_posix() for file in _files(root, name)})
        if not paths:
            place = root / (name or "")
            verb = "contains" if place.is_dir() else "matches"
            raise TailproofError(f"{place} {verb} no .parquet file: correct data.source")
        for path in paths:
            if path in parts:
                raise TailproofError(
                    f"{root / path} is in two pools: data.source.train, data.source.val and "
                    "data.source.test must not overlap"
                )
            parts[path] = Part(path, pool, _keys(path))
    first, *others = parts.values()
    for part in others:
        if list(part.keys) != list(first.keys):
            raise TailproofError(
                f"{root / part.path} has the partition columns {list(part.keys)}, but "
                f"{first.path} has {list(first.keys)}: set data.source.root to one dataset"
            )
    if pools == {None: None}:
        _refuse_split_files(root, parts)
    return list(parts.values())


def keep(parts: list[Part], wanted: Filter, root: Path) -> list[Part]:
    """Return the parts whose partition columns have the wanted values.

    Raises:
        TailproofError: a column or a value does not exist.
    """
    for key, values in wanted.items():
        if key not in parts[0].keys:
            columns = ", ".join(parts[0].keys) or "none (there are no folders key=value)"
            raise TailproofError(
                f"{root}: data.source.filter names '{key}', which is not a partition column"
                f"{suggestion(key, parts[0].keys)}; partition columns: {columns}"
            )
        chosen = {str(value) for value in (values if isinstance(values, list) else [values])}
        present = {str(part.keys[key]) for part in parts}
        if not chosen or chosen - present:
            asked = f"'{min(chosen - present)}'" if chosen else "no value"
            raise TailproofError(
                f"{root}: data.source.filter asks for {asked} in '{key}', which matches no file; "
                f"values of '{key}': {_shown(sorted(present))}"
            )
        parts = [part for part in parts if str(part.keys[key]) in chosen]
    return parts


def _files(root: Path, name: str | None) -> Iterator[Path]:
    """Yield the parquet files that root/name names, contains, or matches as a pattern."""
    start = root / (name or "")
    try:
        for place in [start] if start.exists() else root.glob(name or ""):
            for file in walk(place) if place.is_dir() else [place]:
                if file.suffix == ".parquet" and not _ignored(file.relative_to(root)):
                    yield file
    except OSError as error:
        raise unreadable(error.filename, error) from None


def _relative(files: Iterable[Path], root: Path) -> Iterator[str]:
    return (file.relative_to(root).as_posix() for file in files)


def _ignored(path: Path) -> bool:
    """Return whether Hive readers skip a file, such as _metadata or a half-written file."""
    return any(part.startswith(("_", ".")) for part in path.parts)


def _keys(path: str) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in PurePosixPath(path).parent.parts)
    named = {unquote(key): unquote(value) for key, equals, value in pairs if key and equals}
    return {key: None if value == NULL else value for key, value in named.items()}


def _refuse_split_files(root: Path, paths: dict[str, Part]) -> None:
    words = {re.split(r"[-_.]", word)[0].lower() for path in paths for word in path.split("/")}
    if are_splits(words):
        pools = pools_by_keyword(list(paths))
        line = source_line("parquet", str(root), pools)
        example = f", such as {line}" if pools else " (patterns such as data/train-*.parquet)"
        raise TailproofError(
            f"{root} contains files of a training set and of another set: set data.source.train "
            f"and data.source.test{example}"
        )


def _refuse_several(root: Path, paths: list[str]) -> None:
    """Refuse folders with the same files of splits, as those of several configurations are.

    A collection on the Hub may be there in several sizes, or next to another one.
    """
    folders: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        *above, name = path.split("/")
        place = "/".join(folder for folder in above if not split_of(f"{folder}/"))
        if place and (split := split_of(path)) and not _keys(path):
            folders.setdefault((split, name), []).append(place)
    alike = next((each for each in folders.values() if len(each) > 1), None)
    if alike:
        raise TailproofError(
            f"{root}: {quoted(alike)} contain the same files, as several configurations of one "
            f"dataset do, and their pictures may be the same: import one of them: "
            f"{import_command(root / alike[0])}"
        )


def _shown(values: list[str]) -> str:
    more = f" and {len(values) - 20} more" if len(values) > 20 else ""
    return ", ".join(f"'{value}'" for value in values[:20]) + more


SPOOL = 128 << 20  # bytes; more than that is kept in a temporary file


class Parquet(SourceConfig):
    """Parquet files of other origin with a column of images: one file or a folder of files."""

    name: Literal["parquet"]
    root: str = Field(
        description="A parquet file, or a folder that contains parquet files at any depth."
    )
    train: BelowRoot | None = Field(
        None, description="File, folder or pattern (data/train-*.parquet) of the training pool."
    )
    val: BelowRoot | None = Field(
        None,
        description="File, folder or pattern of the official validation set, which becomes the "
        "split val.",
    )
    test: BelowRoot | None = Field(
        None, description="File, folder or pattern of the held-out pool."
    )
    split: SplitColumn = None
    image: Column = Field(
        "image",
        description="Column of images: encoded (binary, or a struct with the field bytes), or "
        "arrays of numbers (nested lists).",
    )
    bands: Literal["first", "last"] = Field(
        "first",
        description="Position of the band axis in arrays; the other axes are height, width.",
    )
    shape: Annotated[list[Count], Field(min_length=2, max_length=3)] | None = Field(
        None,
        description="Shape of arrays stored as flat lists, such as [bands, height, width].",
    )
    ranks: RankColumns = Field(
        ["label"],
        description="Label columns, coarse to fine: text, whole numbers, Hugging Face class "
        "labels, or partition columns (key=value folders).",
    )
    id: Column | None = Field(
        None, description="Column of unique sample ids. Default: file and row."
    )
    group: Column | None = Field(None, description="Column of groups; a group stays in one split.")
    group_per_pool: GroupPerPool = False
    missing: MissingSigns = None
    filter: dict[Name, str | int | list[str | int]] = Field(
        {}, description="Read only files with these values (one or a list) of partition columns."
    )

    @model_validator(mode="after")
    def _pools_and_columns_fit(self) -> "Parquet":
        check_pools(self.train, self.val, self.test, self.split)
        check_missing_columns(self.missing, self.ranks, self.group)
        return self


@register_source(Parquet)
class ParquetSource(Source):
    """Rows of parquet files. The id of a sample is its file and row, or its value in column `id`.

    A partition column is used like any other column, and replaces a column of the same name in the
    files.
    """

    has_columns = True

    root: Path

    def __init__(self, config: Parquet) -> None:
        self.config = config
        root = Path(config.root)
        self.root = root.parent if root.is_file() else root
        self.ranks = tuple(config.ranks)
        self._file: ParquetFile | None = None

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return a parquet file, or a folder of them, with a column of images."""
        if path.is_file():
            root, paths = path.parent, [path.name] if path.suffix == ".parquet" else []
        else:
            root, is_kind = path, any(file.suffix == ".parquet" for file in first_files(path))
            paths = sorted(map(str, _relative(_files(path, None), path))) if is_kind else []
        if not paths:
            return None
        train = next((each for each in paths if split_of(each) == "train"), paths[0])
        with closing(ParquetTable(root / train)) as table:
            images = table.image_columns()
            columns = table.first_columns(FIRST_ROWS)
            named = [name for name in columns if table.kind(name).names is not None]
        if not images:
            return None
        _refuse_several(root, paths)
        columns = {name: cells for name, cells in columns.items() if name not in images}
        ranks, sure = guess_ranks(columns, named)
        fields = {**pools_by_keyword(paths), "image": images[0]}
        if not ranks:
            line = source_line("parquet", str(path), {**fields, "ranks": ["COLUMN"]})
            advice = f"write an experiment with {line}, where COLUMN is one of {', '.join(columns)}"
            raise TailproofError(
                f"{root / train} has a column of images, '{images[0]}', but none of its others "
                f"looks like a label: {advice if columns else 'add a column of labels'}"
            )
        source = {"name": "parquet", "root": str(path), **fields, "ranks": ranks}
        group, notes = guess_group(columns, ranks)
        if group:
            source["group"] = group
        reason = f"{train} has a column of images, '{images[0]}'"
        return Recognition(source, reason, sure and len(images) == 1, group_notes=tuple(notes))

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The labels of each rank, in the order of the schema if it names them, else sorted."""
        listing = self._listing
        classes = {}
        for rank, column in listing.labels.columns.items():
            kind = listing.kinds.get(rank, TEXT)  # partition columns are text
            order = kind.names or class_order(column.names)
            present = set(column.names)
            classes[rank] = [name for name in order if name in present]
        return classes

    def files(self) -> list[Path]:
        """Return the parquet files that pass the filter. The folders are walked once."""
        return [self.root / part.path for part in self._parts]

    def __len__(self) -> int:
        return len(self._listing)

    def samples(self) -> Iterator[Sample]:
        """Yield the rows file by file, those of the training pool first."""
        listing = self._listing
        ids = list(listing.ids)
        for number, part in enumerate(self._parts):
            first = listing.starts[number]
            for sample in range(first, listing.starts[number + 1]):
                row = sample - first
                pool = listing.pools[sample] if self.config.split else part.pool
                group = listing.group[sample] if self.config.group else None
                group = name_group(group, pool, per_pool=self.config.group_per_pool)
                yield Sample(
                    ids[sample] if self.config.id else f"{part.path}:{row}",
                    listing.labels.of(sample),
                    part.path,
                    row,
                    pool,
                    group,
                    context=tuple(column[sample] for column in listing.context.values()),
                )

    def skipped(self) -> list[Skipped]:
        """Return the parquet files below root that no pool contains."""
        if self.config.train is None:
            return []
        read = set(self.files())
        others = sorted(
            file.relative_to(self.root).as_posix() for file in set(_files(self.root, None)) - read
        )
        if not others or self.config.filter:
            return []
        return [
            Skipped("parquet files outside of data.source.train", len(others), tuple(others[:5]))
        ]

    def warnings(self) -> list[str]:
        """Return what looks like a mistake in the columns."""
        return self._listing.warnings

    def read(self, path: str, row: int | None) -> bytes:
        """Return the bytes of the image; fast for rows in the order of `samples`."""
        assert row is not None  # every sample has one
        file = self.root / path
        if self._file is None or self._file.path != file:
            if self._file is not None:
                self._file.close()
            self._file = ParquetFile(file, self.config)
        return self._file.read(row)

    def read_many(self, wanted: Sequence[tuple[str, int | None]]) -> Iterator[bytes]:
        """Yield the images in the order of `wanted`, after reading each file once.

        Until then the images are kept in memory; many images are kept in a temporary file.
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
                    f"{tempfile.gettempdir()} has no space left for the temporary copy of "
                    f"{len(wanted)} images: set TMPDIR to a larger disk, or raise "
                    "data.shards_per_split"
                ) from error
            for start, size in places.tolist():
                spool.seek(start)
                yield spool.read(size)

    @cached_property
    def _parts(self) -> list[Part]:
        config = self.config
        require_unpacked(Path(config.root))
        if not Path(config.root).exists():
            raise TailproofError(f"{config.root} does not exist: correct data.source.root")
        file = Path(config.root).name if Path(config.root).is_file() else None
        pools: dict[str | None, str | None]
        if config.train is None:
            pools = {None: file}
        elif file is not None:
            raise TailproofError(
                f"{config.root} is a file: remove data.source.train, or set root to its folder"
            )
        elif config.test is None:
            pools = {None: config.train}
        else:
            pools = {TRAIN: config.train, VAL: config.val, HELD_OUT: config.test}
            pools = {pool: name for pool, name in pools.items() if name is not None}
        return keep(find_parts(self.root, pools), config.filter, self.root)

    @cached_property
    def _listing(self) -> "_Listing":
        listing = _Listing(self.config, self.root, self.context)
        for part in self._parts:
            listing.add(part)
        if not len(listing):
            raise TailproofError(
                f"{self.config.root}: its parquet files contain no rows, expected one per image: "
                "save the dataset again, or correct data.source"
            )
        listing.tidy()
        listing.labels.check(self.config.root, listing.where)
        return listing


class _Listing:
    """The rows of all files, stored by column.

    Attributes:
        parts: the files.
        starts: the first row of each file among all rows, then the number of all rows.
        labels: the labels of each row.
        kinds: the kind of each column, which is the same in all files.
        ids: the row of each sample id, if the configuration names a column of ids.
        group: the group of each row, if the configuration names a column of groups.
        context: the columns of context.
        pools: the pool of each row, if the configuration names a column of splits.
        warnings: what looks like a mistake.
    """

    def __init__(self, config: Parquet, root: Path, context: Sequence[str]) -> None:
        self.config, self.root = config, root
        self.context = {name: LabelColumn() for name in context}
        self.parts: list[Part] = []
        self.starts = [0]
        self.labels = Labels(config.ranks)
        self.kinds: dict[str, Kind] = {}
        self.ids: dict[str, int] = {}
        self.group, self._split = LabelColumn(), LabelColumn()
        self.pools: list[str] = []
        self.warnings: list[str] = []

    def __len__(self) -> int:
        return self.starts[-1]

    def add(self, part: Part) -> None:
        """Append the rows of a file, without reading an image."""
        path = self.root / part.path
        self.parts.append(part)
        columns = dict.fromkeys(
            [
                *self.config.ranks,
                *filter(None, [self.config.id, self.config.group, self.config.split]),
                *self.context,
            ]
        )
        with closing(ParquetFile(path, self.config)) as file:
            file.check_image()
            kinds = {name: file.kind(name) for name in columns if name not in part.keys}
            self._check_kinds(kinds, path)
            fixed = {name: value and text_or_none(value) for name, value in part.keys.items()}
            for row, cells in enumerate(file.texts(kinds), start=self.starts[-1]):
                self._add_row({**fixed, **cells}, row)
            self.starts.append(self.starts[-1] + len(file))

    def tidy(self) -> None:
        """Join spellings, drop signs for missing values, and collect warnings.

        Class labels are left alone, because the schema names the classes.
        """
        config, table = self.config, self.config.root
        ranks = {
            rank: column
            for rank, column in self.labels.columns.items()
            if self.kinds.get(rank, TEXT).names is None
        }
        group = (config.group, self.group) if config.group else None
        self.warnings = clean_columns(ranks, group, config.missing, table, self.where)
        if config.split:
            self.pools = pools_of(config.split, self._split, table, self.where)

    def where(self, row: int) -> str:
        """Return the file of a row, and the row number in that file."""
        number = bisect_right(self.starts, row, hi=len(self.parts)) - 1
        return f"{self.root / self.parts[number].path}, row {row - self.starts[number]}"

    def _add_row(self, cells: dict[str, str | None], row: int) -> None:
        for rank in self.config.ranks:
            self.labels.add(rank, cells[rank])
        if self.config.group:
            self.group.add(cells[self.config.group])
        if self.config.split:
            self._split.add(cells[self.config.split])
        for name, column in self.context.items():
            column.add(cells[name])
        if not self.config.id:
            return
        sample_id = cells[self.config.id]
        if sample_id is None:
            raise TailproofError(
                f"{self.where(row)} has no sample id in the column '{self.config.id}': enter it, "
                "or remove data.source.id"
            )
        if sample_id in self.ids:
            raise TailproofError(
                f"{self.where(row)} has the sample id '{sample_id}', like "
                f"{self.where(self.ids[sample_id])}: make the column '{self.config.id}' unique, "
                "or remove data.source.id"
            )
        self.ids[sample_id] = row

    def _check_kinds(self, kinds: dict[str, Kind], path: Path) -> None:
        """Raise a TailproofError if a column has another kind than in the previous files."""
        for name, kind in kinds.items():
            if kind == NULLS:
                continue
            first = self.kinds.setdefault(name, kind)
            if kind != first:
                actual = kind.name if kind.name != first.name else "other class labels"
                raise TailproofError(
                    f"{path}: its column '{name}' contains {actual}, expected {first.name} as in "
                    f"{self.root / self.parts[0].path}: save both files with the same type"
                )
