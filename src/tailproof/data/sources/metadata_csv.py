"""CSV tables of file names, labels and groups, with the images in folders.

400,000 rows of the 31 columns of FungiTastic take 5 s and, next to the bytes of the table, 215 MB.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from posixpath import normpath
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from tailproof.config.base import Strict
from tailproof.config.data import (
    BelowRoot,
    Column,
    Encoding,
    GroupPerPool,
    MissingSigns,
    PictureSourceConfig,
    RankColumns,
    SplitColumn,
    check_missing_columns,
)
from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.class_index import class_order
from tailproof.data.sources.base import Box, Recognition, Sample, Skipped, register_source
from tailproof.data.sources.picture_source import PictureSource
from tailproof.data.sources.problems import Problems
from tailproof.data.sources.tables.clean_columns import clean_columns
from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.data.sources.tables.listed_files import FileFinder, fault_of
from tailproof.data.sources.tables.missing_values import text_or_none
from tailproof.data.sources.tables.official_splits import name_group, pools_of, pools_of_lists
from tailproof.data.sources.tables.rank_labels import Labels
from tailproof.data.sources.tables.table_recognition import recognize_table
from tailproof.data.sources.tables.text_table import Row, TextTable
from tailproof.runtime.errors import TailproofError

UNLISTED_SHOWN = 5
NO_BOX = [None] * 4
"""The cells of a box in a row without one."""


class LabelTable(Strict):
    """A CSV file, and the folder of the images that it lists."""

    table: BelowRoot = Field(description="The CSV file.")
    images: BelowRoot = Field(description="Folder of the images.")


class OfficialLists(Strict):
    """Text files with one file name per line, written as in the column `filename`."""

    train: BelowRoot = Field(description="List of the training set.")
    val: BelowRoot | None = Field(None, description="List of the validation set.")
    test: BelowRoot = Field(description="List of the test set.")


class MetadataCsv(PictureSourceConfig):
    """CSV tables of file names and labels; default column names as in FungiTastic."""

    name: Literal["metadata_csv"]
    root: str = Field(description="Folder that contains the tables and the folders of images.")
    table: BelowRoot | None = Field(
        None,
        description="CSV file that lists all images. Commas, semicolons, tabs or vertical bars "
        "separate its columns.",
    )
    images: BelowRoot | None = Field(
        None, description="Folder of the images that `table` lists. Default: root."
    )
    train: LabelTable | None = Field(None, description="The training pool, if there is a test set.")
    val: LabelTable | None = Field(
        None, description="The official validation set, which becomes the split val."
    )
    test: LabelTable | None = Field(None, description="The held-out pool, if there is a test set.")
    split: SplitColumn = None
    lists: OfficialLists | None = Field(
        None,
        description="Text files that list the images of each official split of `table`.",
    )
    filename: Column = Field(
        "filename", description="Column of image paths, relative to the folder of images."
    )
    ranks: RankColumns = Field(
        ["phylum", "class", "order", "family", "genus", "species"],
        description="Label columns, coarse to fine. An empty cell or NaN means no label.",
    )
    subfolders: bool = Field(
        False,
        description="Whether an image that is not directly in the folder of images may be in any "
        "folder below it, if exactly one file there has its name.",
    )
    group: Column | None = Field(
        "observationID",
        description="Column of groups; a group stays in one split. null: no groups.",
    )
    group_per_pool: GroupPerPool = False
    box: Annotated[list[Column], Field(min_length=4, max_length=4)] | None = Field(
        None,
        description="Columns of the left edge, top edge, width and height of a box in pixels. "
        "Each row is then one sample: the part of its picture inside the box.",
    )
    missing: MissingSigns = None
    encoding: Encoding = None

    @property
    def has_boxes(self) -> bool:
        """Whether the tables have columns of boxes."""
        return self.box is not None

    @model_validator(mode="before")
    @classmethod
    def _crop_boxes(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("box") and values.get("crops") is None:
            return {**values, "crops": {}}
        return values

    @model_validator(mode="after")
    def _boxes_from_one_place(self) -> "MetadataCsv":
        if self.box is not None and self.crops and self.crops.detections is not None:
            raise ValueError("'box' and 'crops.detections' both name the boxes: remove one")
        return self

    @model_validator(mode="after")
    def _one_table_or_pools(self) -> "MetadataCsv":
        check_missing_columns(self.missing, self.ranks, self.group)
        pools = (self.train, self.val, self.test)
        if self.split is not None and self.lists is not None:
            raise ValueError("'split' and 'lists' both name the test set: remove one")
        if self.table is not None and pools == (None, None, None):
            return self
        if None in (self.train, self.test) or self.table is not None or self.images is not None:
            raise ValueError(
                "give 'table' (and 'images') for a collection in one table, or both 'train' and "
                "'test' (and 'val'), each with 'table' and 'images'"
            )
        if self.split is not None or self.lists is not None:
            raise ValueError("'test' names the test set: remove 'split' and 'lists'")
        return self


@register_source(MetadataCsv)
class MetadataCsvSource(PictureSource[MetadataCsv]):
    """Images that a CSV table lists. The id and the path of a sample are its path below root.

    Images that no table lists are ignored. Only the tables and lists are `files`.
    """

    has_columns = True

    def __init__(self, config: MetadataCsv) -> None:
        super().__init__(config)
        self.ranks = tuple(config.ranks)
        if config.table is not None:
            self._tables: dict[str | None, LabelTable] = {
                None: LabelTable(table=config.table, images=config.images or ".")
            }
        else:
            pools = {TRAIN: config.train, VAL: config.val, HELD_OUT: config.test}
            self._tables = {pool: table for pool, table in pools.items() if table is not None}

    @classmethod
    def recognize(cls, path: Path, label: str | None = None) -> Recognition | None:
        """Return the table of a folder that lists its pictures; the user may name the label."""
        return recognize_table(path, label)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The sorted labels of each rank; sorted by value if all are numbers."""
        columns = self._listing.labels.columns
        return {rank: class_order(column.names) for rank, column in columns.items()}

    def files(self) -> list[Path]:
        """Return the tables and the lists."""
        tables = [self.root / table.table for table in self._tables.values()]
        return [*tables, *self._lists.values()]

    def __len__(self) -> int:
        return len(self._listing.paths)

    def samples(self) -> Iterator[Sample]:
        """Yield the rows of the tables, after checking that every image exists.

        Raises:
            TailproofError: a table is invalid, or an image does not exist.
        """
        listing, found = self._listing, self._found
        numbers: Counter[str] = Counter()
        for row, path in enumerate(found.paths):
            pool = found.pools[row]
            group = listing.group[row] if self.config.group else None
            group = name_group(group, pool, per_pool=self.config.group_per_pool)
            context = tuple(column[row] for column in listing.context)
            sample = Sample(
                path, listing.labels.of(row), path, pool=pool, group=group, context=context
            )
            if self.config.box is not None:
                number = numbers[path]
                numbers[path] += 1
                box = listing.box(row)
                sample = replace(sample, sample_id=f"{path}:{number}", row=number, box=box)
            yield sample

    def skipped(self) -> list[Skipped]:
        """Return the lines with comments, and the images next to listed ones that are not."""
        comments, others = self._listing.comments, self._found.unlisted
        skipped = [
            Skipped("lines with a comment in the tables", comments),
            Skipped("rows without a box", self._listing.without_box),
            Skipped("images that no table lists", len(others), tuple(others[:UNLISTED_SHOWN])),
        ]
        return [each for each in skipped if each.count]

    def warnings(self) -> list[str]:
        """Return what looks like a mistake in the columns and in the names of files."""
        return self._listing.warnings + self._found.warnings

    @property
    def _searched(self) -> list[str]:
        tables = self._tables.values() if self.config.subfolders else ()
        return [table.images for table in tables]

    @property
    def _lists(self) -> dict[str, Path]:
        if self.config.lists is None:
            return {}
        pools = {TRAIN: "train", VAL: "val", HELD_OUT: "test"}
        files = {pool: getattr(self.config.lists, name) for pool, name in pools.items()}
        return {pool: self.root / file for pool, file in files.items() if file is not None}

    @cached_property
    def _listing(self) -> "_Listing":
        config, listing = self.config, _Listing(self.ranks, len(self.context))
        for pool, table in self._tables.items():
            self._add(listing, table, pool)
        listing.problems.check()
        tables = " and ".join(str(file) for file, _ in listing.tables)
        columns = dict(listing.labels.columns)
        group = (config.group, listing.group) if config.group else None
        listing.warnings = clean_columns(columns, group, config.missing, tables, listing.where)
        listing.labels.check(tables, listing.where)
        if config.split is not None:
            listing.pools = [*pools_of(config.split, listing.split, tables, listing.where)]
        return listing

    def _add(self, listing: "_Listing", table: LabelTable, pool: str | None) -> None:
        config = self.config
        columns = [config.filename, *self.ranks, *filter(None, [config.group, config.split])]
        columns += [*self.context, *(config.box or [])]
        text = TextTable(self.root / table.table, columns, config.encoding)
        listing.tables.append((text.file, len(listing.paths)))
        without_box = listing.without_box
        for row in text.rows():
            listing.add(row, table.images, pool, config)
        listing.comments += text.comments
        if len(listing.paths) == listing.tables[-1][1] and not listing.problems:
            if listing.without_box > without_box:
                raise TailproofError(
                    f"{text.file} has no box in any row: correct data.source.box, or leave it out "
                    "to read whole pictures"
                )
            raise TailproofError(
                f"{text.file} has no row below its header, expected one row per image: add "
                "the rows, or correct the name of the table"
            )

    @cached_property
    def _found(self) -> "_Images":
        """The image of each row.

        Raises:
            TailproofError: an image does not exist, or two rows list it.
        """
        listing, finder = self._listing, FileFinder(self.root, self._searched)
        found = finder.find_all(listing.paths)
        if found.missing:
            raise finder.missing_error(listing.paths, found, listing.where)
        rows: dict[str, int] = {}
        for row, path in enumerate(found.existing):
            if rows.setdefault(path, row) != row and self.config.box is None:
                listing.problems.add(
                    listing.where(row),
                    f"lists the image '{path}', which is already in "
                    f"{listing.where(rows[path])}: remove one of the rows",
                )
        listing.problems.check()
        pools = listing.pools
        if self._lists:
            images = self._tables[None].images
            of_lists = pools_of_lists(
                self._lists,
                lambda name: finder.find(normpath(f"{images}/{name}")).path,
                found.existing,
            )
            pools = [*of_lists]
        return _Images(found.existing, pools, found.warnings, finder.unlisted(rows))


class _Images(NamedTuple):
    """The images.

    Attributes:
        paths: the path of the image of each row.
        pools: the pool of each row.
        warnings: what looks like a mistake in their names.
        unlisted: images next to them that no row lists.
    """

    paths: list[str]
    pools: list[str | None]
    warnings: list[str]
    unlisted: list[str]


class _Listing:
    """The rows of all tables, stored by column.

    Attributes:
        tables: file and first row of each table.
        paths: the path of the image of each row below root, as the table spells it.
        lines: the line of each row in its table.
        pools: the pool of each row.
        labels: the labels of each row.
        group: the group of each row.
        split: the official split of each row.
        context: each column of context.
        problems: the rows that cannot be used.
        comments: number of lines with a comment.
        without_box: number of rows whose columns of boxes are empty.
        warnings: what looks like a mistake.
    """

    def __init__(self, ranks: tuple[str, ...], columns: int) -> None:
        self.tables: list[tuple[Path, int]] = []
        self.paths: list[str] = []
        self.lines = array("q")
        self.pools: list[str | None] = []
        self.labels = Labels(ranks)
        self.group, self.split = LabelColumn(), LabelColumn()
        self.context = [LabelColumn() for _ in range(columns)]
        self.problems = Problems("row")
        self.comments = self.without_box = 0
        self.warnings: list[str] = []
        self._rows: dict[str, int] = {}
        self._boxes = array("d")

    def add(self, row: Row, images: str, pool: str | None, config: MetadataCsv) -> None:
        where = f"{self.tables[-1][0]}, line {row.line}"
        if row.fault:
            self.problems.add(where, row.fault)
            return
        filename, *cells = row.cells
        values = list(map(text_or_none, cells))
        fault, box = fault_of(filename), values[-4:] if config.box else None
        path = normpath(f"{images}/{filename}")
        if box is not None and config.box is not None:
            fault = fault or _fault_of_box(box, config.box)
        elif path in self._rows:
            fault = (
                f"lists the image '{filename}', which is already in "
                f"{self.where(self._rows[path])}: remove one of the rows"
            )
        if fault:
            self.problems.add(where, fault)
            return
        if box == NO_BOX:
            self.without_box += 1
            return
        self._rows[path] = len(self.paths)
        self.paths.append(path)
        self.lines.append(row.line)
        self.pools.append(pool)
        remaining = iter(values)
        for column in self.labels.columns.values():
            column.add(next(remaining))
        if config.group:
            self.group.add(next(remaining))
        if config.split:
            self.split.add(next(remaining))
        for column in self.context:
            column.add(next(remaining))
        self._boxes.extend(math.nan if number is None else float(number) for number in box or ())

    def box(self, row: int) -> Box:
        x, y, width, height = self._boxes[4 * row : 4 * row + 4]
        return Box(x, y, width, height)

    def where(self, row: int) -> str:
        file = next(file for file, first in reversed(self.tables) if first <= row)
        return f"{file}, line {self.lines[row]}"


def _fault_of_box(cells: list[str | None], columns: list[str]) -> str | None:
    """Return why four cells are not the numbers of a box; a row may have no box."""
    if cells == NO_BOX:
        return None
    for cell, column in zip(cells, columns, strict=True):
        try:
            float(cell or "")
        except ValueError:
            return (
                f"has '{cell or ''}' in the column '{column}' of its box, expected a number of "
                "pixels such as 12.5: correct the four columns, or leave all of them empty"
            )
    return None
