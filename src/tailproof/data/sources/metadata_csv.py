"""CSV tables of file names, labels and groups, with the images in folders.

Read with the standard library's csv: it tells the line of each mistake, takes quotes strictly, and
holds one row at a time, of which the columns that matter are kept. Measured with 400,000 rows of
the 31 columns of FungiTastic: 5 s and 215 MB until the last sample.
"""

import csv
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from posixpath import normpath, split

from tailproof.config.data import LabelTable, MetadataCsv
from tailproof.data.sources.base import HELD_OUT, TRAIN, Sample, Source
from tailproof.data.sources.filesystem import read_file
from tailproof.data.sources.label_tree import Labels, class_order, clean
from tailproof.runtime.errors import TailproofError, suggestion


class MetadataCsvSource(Source):
    """Images that a CSV table lists; a sample's id and path is its image's path below root.

    Images that no table names are passed over. The tables are the only `files`: an image that
    changes behind an unchanged table is not looked for.
    """

    def __init__(self, config: MetadataCsv) -> None:
        self.config = config
        self.root = Path(config.root)
        self.ranks = tuple(config.ranks)
        if config.table is not None:
            whole = LabelTable(table=config.table, images=config.images or ".")
            self._tables = {None: whole}
        else:
            self._tables = {TRAIN: config.train, HELD_OUT: config.test}

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The labels of each rank, sorted; by value where all are numbers."""
        return {rank: class_order(names) for rank, names in self._listing.labels.names.items()}

    def files(self) -> list[Path]:
        """Return the tables."""
        return [self.root / table.table for table in self._tables.values()]

    def __len__(self) -> int:
        return len(self._listing.paths)

    def samples(self) -> Iterator[Sample]:
        """Yield the rows of the tables; first every image is looked for.

        Raises:
            TailproofError: a table is not what it should be, or an image is not there.
        """
        listing = self._listing
        listing.check_images(self.root)
        for row, (path, group) in enumerate(zip(listing.paths, listing.groups, strict=True)):
            pool = listing.table_of(row)[1]
            yield Sample(path, listing.labels.of(row), path, pool=pool, group=group)

    def read(self, path: str, row: int | None) -> bytes:
        """Return the file's own bytes."""
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
            raise TailproofError(f"{file} is empty, expected a header and one image a row")
        filename, *ranks = (_position(file, header, name) for name in self._columns())
        group = ranks.pop() if self.config.group else None
        listing.tables.append((file, pool, len(listing.paths)))
        for line, cells in records:
            if len(cells) != len(header):
                raise TailproofError(
                    f"{file}, line {line}: {len(cells)} cells, its header has {len(header)}; look "
                    "for a comma that needs quotes or for a truncated line"
                )
            path = _path(table.images, cells[filename], f"{file}, line {line}")
            if path in listing.paths:
                raise TailproofError(
                    f"{file}, line {line}: the image '{cells[filename]}' is listed a second time, "
                    f"first in {listing.where(listing.paths[path])}; remove one"
                )
            listing.paths[path] = len(listing.paths)
            listing.lines.append(line)
            listing.groups.append(clean(cells[group]) if group is not None else None)
            for rank, position in zip(self.ranks, ranks, strict=True):
                listing.labels.add(rank, clean(cells[position]))
        if len(listing.paths) == listing.tables[-1][2]:
            raise TailproofError(f"{file}: no row below its header; it should list one image a row")

    def _columns(self) -> list[str]:
        return [self.config.filename, *self.ranks, *filter(None, [self.config.group])]


class _Listing:
    """The rows of all tables, by column.

    Attributes:
        tables: file, pool and first row of each table.
        paths: each row's image, relative to root -> the row.
        lines: each row's line in its table.
        groups: each row's group.
        labels: each row's labels.
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
        """Look for every image; one listing a folder costs a network disk less than a look each."""
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
                f"{self.where(first)}: {root / missing[0]} does not exist, as {len(missing)} of "
                f"{len(self.paths)} listed images; add them, remove their rows, or correct the "
                "folder of images in data.source"
            )


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise TailproofError(f"{folder} cannot be read: {error.strerror}") from None


def _path(images: str, filename: str, where: str) -> str:
    """Return an image's path below root."""
    if not filename.strip():
        raise TailproofError(f"{where}: the file name is empty; fill it in or remove the row")
    if filename.startswith("/") or ".." in filename.split("/"):
        raise TailproofError(
            f"{where}: the file name '{filename}' leaves the folder of images; give a path inside "
            "that folder, without '..'"
        )
    return normpath(f"{images}/{filename}")


def _position(file: Path, header: list[str], name: str) -> int:
    if header.count(name) > 1:
        raise TailproofError(f"{file}: two columns have the name '{name}'; rename one")
    if name not in header:
        raise TailproofError(
            f"{file} has no column '{name}'{suggestion(name, header)}; it has: {', '.join(header)}"
            " (data.source names the columns: filename, ranks, group)"
        )
    return header.index(name)


def _records(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each record with the line that it starts on; blank lines are none."""
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
            f"{file}, line {line}: not valid CSV ({error}); look for a quote that is not closed, "
            "or a truncated file"
        ) from None
    except UnicodeDecodeError:
        raise TailproofError(
            f"{file}, line {_undecodable(file)}: not UTF-8 text; save the table as CSV in UTF-8"
        ) from None
    except OSError as error:
        raise TailproofError(f"{file} cannot be read: {error.strerror}") from None


def _undecodable(file: Path) -> int:
    """Return the first line that is not UTF-8: the stream decodes in blocks and cannot tell."""
    with open(file, "rb") as stream:
        lines = enumerate(stream, start=1)
        return next(number for number, content in lines if not _is_utf8(content))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
