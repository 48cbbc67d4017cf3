"""Reads the rows of metadata.csv, metadata.jsonl and metadata.parquet."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from tailproof.data.sources.tables.missing_values import text_or_none
from tailproof.data.sources.tables.parquet_file import Kind, ParquetTable
from tailproof.data.sources.tables.text_table import TextTable
from tailproof.files import parse_json
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.untrusted_files import open_regular
from tailproof.untrusted_text import is_encodable

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FIRST_ROWS = 2000
LONGEST_LINE = 16 * 2**20  # bytes
ClassNames = Mapping[str, tuple[str, ...]]
"""The names of the classes in each column that numbers them."""


class MetadataRow(NamedTuple):
    """A row of a file.

    Attributes:
        number: the line; the row in a parquet file.
        cells: the text of each column; None if it has no value.
        fault: why the row cannot be used; it then has no cells.
    """

    number: int
    cells: list[str | None]
    fault: str | None = None


def image_column(columns: Sequence[str], file: Path, wanted: str | None) -> str:
    """Return the column of file names.

    Args:
        columns: the columns of the file.
        file: the file.
        wanted: the column that the configuration names.

    Raises:
        TailproofError: there is none, or there are several.
    """
    if wanted is not None:
        return wanted
    named = [name for name in columns if name == "file_name" or name.endswith("_file_name")]
    if "file_name" in named or len(named) == 1:
        return "file_name" if "file_name" in named else named[0]
    if named:
        raise TailproofError(
            f"{file} has several columns of images, {', '.join(named)}: set data.source.image to "
            "one of them"
        )
    lists = [name for name in columns if name.endswith("file_names")]
    advice = "set data.source.image to the column of the images' file names"
    if lists:
        advice = (
            f"'{lists[0]}' contains several images per row, which is not supported: write one row "
            "per image"
        )
    raise TailproofError(
        f"{file} has no column 'file_name'{suggestion('file_name', columns)}; its columns are: "
        f"{', '.join(map(str, columns))}; {advice}"
    )


def first_columns(file: Path) -> dict[str, list[str | None]]:
    """Return the first cells of each column of a file that contains text or whole numbers.

    Raises:
        TailproofError: the file cannot be read.
    """
    if file.suffix == ".parquet":
        with closing(ParquetTable(file)) as table:
            return table.first_columns(FIRST_ROWS)
    if file.suffix == ".csv":
        header = TextTable(file, [], None).header
        unique = [name for name in header if name and header.count(name) == 1]
        rows = islice(TextTable(file, unique, None).rows(), FIRST_ROWS) if unique else ()
        cells = [list(map(text_or_none, row.cells)) for row in rows if not row.fault]
        return {name: [row[place] for row in cells] for place, name in enumerate(unique)}
    with open_regular(file) as lines:
        documents = [
            document for _, document, fault in islice(_json_lines(lines), FIRST_ROWS) if not fault
        ]
    names = dict.fromkeys(name for document in documents for name in document)
    columns = {name: [document.get(name) for document in documents] for name in names}
    return {
        name: [None if value is None else str(value) for value in values]
        for name, values in columns.items()
        if not any(isinstance(value, dict | list) for value in values)
    }


class MetadataFile:
    """A file that lists images and their labels.

    Attributes:
        comments: number of lines with a comment; complete after the rows were read.

    Args:
        file: a file with the name of one of `NAMES`.
        image: the column of file names; None: `file_name`, or the only one that ends in it.
        columns: the columns of labels and groups.
        names: class names, which take the place of numbers.
        encoding: the encoding of CSV, as in `TextTable`.
    """

    def __init__(
        self,
        file: Path,
        image: str | None,
        columns: Sequence[str],
        names: ClassNames,
        encoding: str | None,
    ) -> None:
        self.file, self.comments = file, 0
        self._image, self._columns, self._names = image, columns, names
        self._encoding = encoding

    def rows(self) -> Iterator[MetadataRow]:
        """Yield the rows with the cells of the image's name and of the columns.

        Raises:
            TailproofError: the file cannot be read or lacks a column.
        """
        readers = {".csv": self._csv_rows, ".jsonl": self._json_rows}
        return readers.get(self.file.suffix, self._parquet_rows)()

    def place(self, number: int) -> str:
        """Return the file and the line or row of a `MetadataRow`."""
        return f"{self.file}, {'row' if self.file.suffix == '.parquet' else 'line'} {number}"

    def _csv_rows(self) -> Iterator[MetadataRow]:
        file, header = self.file, TextTable(self.file, [], self._encoding).header
        wanted = [image_column(header, file, self._image), *self._columns]
        numbered = self._numbered_columns(TextTable(file, wanted, self._encoding))
        table = TextTable(file, wanted, self._encoding)
        for row in table.rows():
            if row.fault:
                yield MetadataRow(row.line, [], row.fault)
                continue
            cells = [text_or_none(cell) for cell in row.cells]
            yield self._labelled_row(
                row.line,
                [
                    float(cell) if name in numbered and cell is not None else cell
                    for name, cell in zip(wanted, cells, strict=True)
                ],
                wanted,
            )
        self.comments = table.comments

    def _numbered_columns(self, table: TextTable) -> set[str]:
        """Return the columns with class names that contain only whole numbers, as pandas reads."""
        texts: dict[str, set[str]] = {name: set() for name in self._columns if name in self._names}
        for row in table.rows() if texts else ():
            for name, cell in zip(self._columns, row.cells[1:], strict=False):
                if name in texts and (text := text_or_none(cell)) is not None:
                    texts[name].add(text.removesuffix(".0").removeprefix("-"))
        return {name for name, values in texts.items() if all(map(str.isdecimal, values))}

    def _json_rows(self) -> Iterator[MetadataRow]:
        file, wanted = self.file, list[str]()
        seen: dict[str, None] = {}
        with open_regular(file) as lines:
            for number, document, fault in _json_lines(lines):
                if fault:
                    yield MetadataRow(number, [], fault)
                    continue
                wanted = wanted or [image_column(list(document), file, self._image), *self._columns]
                seen |= dict.fromkeys(document)
                yield self._labelled_row(
                    number, [document.get(column) for column in wanted], wanted
                )
        for column in wanted:
            if column not in seen:
                raise TailproofError(
                    f"{file} has no key '{column}'{suggestion(column, seen)}; its keys are: "
                    f"{', '.join(seen)} (correct the names of columns in data.source, such as "
                    "ranks and group, or in data.context)"
                )

    def _parquet_rows(self) -> Iterator[MetadataRow]:
        with closing(ParquetTable(self.file)) as table:
            image = image_column(table.schema.names, self.file, self._image)
            wanted = [image, *self._columns]
            kinds = {name: table.kind(name) for name in wanted}
            for name, kind in kinds.items():
                if name in self._names and kind.name == "whole numbers":
                    kinds[name] = Kind("class labels", self._names[name])
            for number, cells in enumerate(table.texts(kinds)):
                if cells[image] is None:
                    yield MetadataRow(number, [], f"has no file name as '{image}': enter it")
                else:
                    yield MetadataRow(number, [cells[name] for name in wanted])

    def _labelled_row(
        self, number: int, values: Sequence[Any], wanted: Sequence[str]
    ) -> MetadataRow:
        """Return a row of JSON or CSV, with class names for numbers."""
        try:
            cells = [
                _label(value, column, self._names.get(column))
                for column, value in zip(wanted, values, strict=True)
            ]
        except ValueError as error:
            return MetadataRow(number, [], str(error))
        if cells[0] is None:
            return MetadataRow(number, [], f"has no file name as '{wanted[0]}': enter it")
        return MetadataRow(number, cells)


def _json_lines(lines: Any) -> Iterator[tuple[int, dict[str, Any], str | None]]:
    """Yield the number, the object and the fault of each line that is not blank."""
    number = 0
    while line := lines.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            yield number, {}, f"has more than {LONGEST_LINE} bytes: write one object per line"
            return
        if not line.strip():
            continue
        try:
            document = parse_json(line.decode("utf-8-sig"), nan=True)
        except UnicodeDecodeError:
            yield number, {}, "is not UTF-8 text: save the file as UTF-8"
        except json.JSONDecodeError as error:
            yield number, {}, f"is not valid JSON ({error.msg}): write one object per line"
        except ValueError as error:
            yield number, {}, f"is not valid JSON ({error}): correct it"
        else:
            is_object = isinstance(document, dict)
            fault = None if is_object else "is not a JSON object: write one object per line"
            yield number, document if is_object else {}, fault


def _label(value: Any, column: str, names: tuple[str, ...] | None) -> str | None:
    """Return the text that a value of JSON or CSV means; None if it means no value.

    As in Hugging Face datasets, a number is the position of a name, -1 is no label, and a text is
    a name itself.

    Raises:
        ValueError: it is no label.
    """
    if isinstance(value, dict | list):
        raise ValueError(f"has a list or an object as '{column}', expected text or a number")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        if not is_encodable(value):
            raise ValueError(
                f"has {value!a} as '{column}', which contains an incomplete character (a lone "
                "surrogate)"
            )
        value = text_or_none(value)
    if value is None or (isinstance(value, float) and isnan(value)):
        return None
    if names is None:
        return str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if value == -1:
        return None
    if value not in names:
        raise ValueError(
            f"has the {column} {value!r}, expected one of the {len(names)} classes in README.md, "
            f"by name or by number (0 to {len(names) - 1}): correct one of the files"
        )
    return value
