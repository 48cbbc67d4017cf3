"""CSV tables of file names, labels and groups, with the images in folders.

The tables are read with the standard library's csv. It reports the line of each mistake, checks
quotes strictly, and holds one row at a time; only the columns that matter are kept. 400,000 rows
of the 31 columns of FungiTastic take 5 s and 215 MB.
"""

import csv
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from posixpath import normpath, split
from typing import Literal

from pydantic import Field, model_validator

from tailproof.config.base import Strict
from tailproof.config.data import BelowRoot, Column, RankColumns, SourceConfig
from tailproof.data.class_index import class_order
from tailproof.data.sources.base import HELD_OUT, TRAIN, Sample, Source, register_source
from tailproof.data.sources.filesystem import read_file
from tailproof.data.sources.label_tree import Labels, clean
from tailproof.runtime.errors import TailproofError, suggestion


class LabelTable(Strict):
    """A CSV file, and the folder of the images that it lists."""

    table: BelowRoot = Field(description="The CSV file.")
    images: BelowRoot = Field(description="Folder of the images.")


class MetadataCsv(SourceConfig):
    """CSV tables of file names and labels; default column names as in FungiTastic."""

    name: Literal["metadata_csv"]
    root: str = Field(description="Folder that contains the tables and the folders of images.")
    table: BelowRoot | None = Field(
        None, description="CSV file of a collection without a test set."
    )
    images: BelowRoot | None = Field(
        None, description="Folder of the images that `table` lists. Default: root."
    )
    train: LabelTable | None = Field(None, description="The training pool, if there is a test set.")
    test: LabelTable | None = Field(None, description="The held-out pool, if there is a test set.")
    filename: Column = Field(
        "filename", description="Column of image paths, relative to the folder of images."
    )
    ranks: RankColumns = Field(
        ["phylum", "class", "order", "family", "genus", "species"],
        description="Label columns, coarse to fine. An empty cell or NaN means no label.",
    )
    group: Column | None = Field(
        "observationID",
        description="Column of groups; a group stays in one split. null: no groups.",
    )

    @model_validator(mode="after")
    def _one_table_or_two_pools(self) -> "MetadataCsv":
        pools = (self.train, self.test)
        if self.table is not None and pools == (None, None):
            return self
        if None in pools or self.table is not None or self.images is not None:
            raise ValueError(
                "give 'table' (and 'images') for a collection without a test set, or both 'train' "
                "and 'test', each with 'table' and 'images'"
            )
        return self


@register_source(MetadataCsv)
class MetadataCsvSource(Source):
    """Images that a CSV table lists. The id and the path of a sample are its path below root.

    Images that no table lists are ignored. Only the tables are `files`: a changed image with an
    unchanged table goes unnoticed.
    """

    def __init__(self, config: MetadataCsv) -> None:
        self.config = config
        self.root = Path(config.root)
        self.ranks = tuple(config.ranks)
        if config.table is not None:
            table = LabelTable(table=config.table, images=config.images or ".")
            self._tables = {None: table}
        else:
            self._tables = {TRAIN: config.train, HELD_OUT: config.test}

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The sorted labels of each rank; sorted by value if all are numbers."""
        return {rank: class_order(names) for rank, names in self._listing.labels.names.items()}

    def files(self) -> list[Path]:
        """Return the tables."""
        return [self.root / table.table for table in self._tables.values()]

    def __len__(self) -> int:
        return len(self._listing.paths)

    def samples(self) -> Iterator[Sample]:
        """Yield the rows of the tables, after checking that every image exists.

        Raises:
            TailproofError: a table is invalid, or an image does not exist.
        """
        listing = self._listing
        listing.check_images(self.root)
        for row, (path, group) in enumerate(zip(listing.paths, listing.groups, strict=True)):
            pool = listing.table_of(row)[1]
            yield Sample(path, listing.labels.of(row), path, pool=pool, group=group)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the bytes of the file."""
        return read_file(self.root / path)

    @cached_property
    def _listing(self) -> "_Listing":
        listing = _Listing(self.ranks)
        for pool, table in self._tables.items():
            self._add(listing, table, pool)
        listing.labels.check(" and ".join(map(str, self.files())), listing.where)
        return listing

    def _add(self, listing: "_Listing", table: LabelTable, pool: str | None) -> None:
        file = self.root / table.table
        records = _records(file)
        header = next(records, (0, []))[1]
        if not header:
            raise TailproofError(f"{file} is empty, expected a header and one row per image")
        filename, *ranks = (_position(file, header, name) for name in self._columns())
        group = ranks.pop() if self.config.group else None
        listing.tables.append((file, pool, len(listing.paths)))
        for line, cells in records:
            if len(cells) != len(header):
                raise TailproofError(
                    f"{file}, line {line} has {len(cells)} cells, but the header {len(header)}: "
                    "look for a comma that needs quotes or for a truncated line"
                )
            path = _path(table.images, cells[filename], f"{file}, line {line}")
            if path in listing.paths:
                raise TailproofError(
                    f"{file}, line {line} lists the image '{cells[filename]}' again after "
                    f"{listing.where(listing.paths[path])}: remove one of the rows"
                )
            listing.paths[path] = len(listing.paths)
            listing.lines.append(line)
            listing.groups.append(clean(cells[group]) if group is not None else None)
            for rank, position in zip(self.ranks, ranks, strict=True):
                listing.labels.add(rank, clean(cells[position]))
        if len(listing.paths) == listing.tables[-1][2]:
            raise TailproofError(f"{file} has no row below its header, expected one row per image")

    def _columns(self) -> list[str]:
        return [self.config.filename, *self.ranks, *filter(None, [self.config.group])]


class _Listing:
    """The rows of all tables, stored by column.

    Attributes:
        tables: file, pool and first row of each table.
        paths: the row of each image, by its path below root.
        lines: the line of each row in its table.
        groups: the group of each row.
        labels: the labels of each row.
    """

    def __init__(self, ranks: tuple[str, ...]) -> None:
        self.tables: list[tuple[Path, str | None, int]] = []
        self.paths: dict[str, int] = {}
        self.lines = array("q")
        self.groups: list[str | None] = []
        self.labels = Labels(ranks)

    def table_of(self, row: int) -> tuple[Path, str | None, int]:
        return next(table for table in reversed(self.tables) if table[2] <= row)

    def where(self, row: int) -> str:
        return f"{self.table_of(row)[0]}, line {self.lines[row]}"

    def check_images(self, root: Path) -> None:
        """Check that every image exists, with one listing per folder, which suits network disks."""
        folders: dict[str, set[str]] = {}
        missing = []
        for path in self.paths:
            folder, name = split(path)
            if folder not in folders:
                folders[folder] = _names(root / folder)
            if name not in folders[folder]:
                missing.append(path)
        if missing:
            first = self.paths[missing[0]]
            raise TailproofError(
                f"{self.where(first)}: {root / missing[0]} does not exist ({len(missing)} of "
                f"{len(self.paths)} listed images are missing): add the images, remove their rows, "
                "or correct the folder of images in data.source"
            )


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise TailproofError(f"{folder} cannot be read: {error.strerror}") from None


def _path(images: str, filename: str, where: str) -> str:
    """Return the path of an image below root."""
    if not filename.strip():
        raise TailproofError(f"{where}: the file name is empty: enter it or remove the row")
    if filename.startswith("/") or ".." in filename.split("/"):
        raise TailproofError(
            f"{where}: the file name '{filename}' is outside the folder of images: give a path "
            "inside that folder, without '..'"
        )
    return normpath(f"{images}/{filename}")


def _position(file: Path, header: list[str], name: str) -> int:
    if header.count(name) > 1:
        raise TailproofError(f"{file} has two columns with the name '{name}': rename one")
    if name not in header:
        raise TailproofError(
            f"{file} has no column '{name}'{suggestion(name, header)}; expected one of: "
            f"{', '.join(header)} (correct filename, ranks or group in data.source)"
        )
    return header.index(name)


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the cells of each record; blank lines are skipped."""
    line = 1
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
    except csv.Error as error:
        raise TailproofError(
            f"{file}, line {line} is not valid CSV ({error}): look for a quote that is not closed, "
            "or a truncated file"
        ) from None
    except UnicodeDecodeError:
        raise TailproofError(
            f"{file}, line {_undecodable(file)} is not UTF-8 text: save the table as CSV in UTF-8"
        ) from None
    except OSError as error:
        raise TailproofError(f"{file} cannot be read: {error.strerror}") from None


def _undecodable(file: Path) -> int:
    """Return the first line that is not UTF-8; the stream decodes blocks, not lines."""
    with open(file, "rb") as stream:
        lines = enumerate(stream, start=1)
        return next(number for number, content in lines if not _is_utf8(content))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
