"""Reads tables of text as programs and people write them: encoding, separator, header, rows.

The rows are read with the standard library's csv. It reports the line of each mistake, checks
quotes strictly, and holds one row at a time; only the columns that matter are kept.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tailproof.data.image_formats import SUFFIXES
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.text import listed, quantity
from tailproof.untrusted_files import other_kind, read_bytes

LARGEST = 2**30  # bytes
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""The first line of a table that Excel wrote for another country."""
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by byte order mark; that of UTF-32 begins with that of UTF-16."""
OTHER_FILES = {
    b"PAR1": "a parquet file: set data.source.name to parquet",
    b"<": "a web page or XML: download the table itself",
    b"{": "JSON: save the table as CSV",
    b"[{": "JSON: save the table as CSV",
    b"[\n": "JSON: save the table as CSV",
}
"""What a file is that begins with these bytes and is no table, and what to do."""
RULE = re.compile(r"(:?-+:?)?")
"""A cell of the line below the header of a table in Markdown, or an empty cell."""
SEARCHED_LINES = 50


class Row(NamedTuple):
    """A row of a table; `fault` says why it has no cells."""

    line: int
    cells: list[str]
    fault: str | None = None


class TextTable:
    """A table of text with a header and one row per image.

    Attributes:
        file: the file.
        header: the names of the columns, without trailing empty ones.
        separator: what separates its cells.
        encoding: the encoding of its text.
        start: number of lines before the header.
        comments: number of lines with a comment; complete after the rows were read.
    """

    def __init__(
        self,
        file: Path,
        columns: Sequence[str],
        encoding: str | None,
        *,
        configured: bool = True,
    ) -> None:
        """Find the separator and the header.

        Args:
            file: the table.
            columns: the columns that are needed.
            encoding: the encoding of the text; None: UTF-8, or what the byte order mark says.
            configured: whether data.source names the columns and the encoding.

        Raises:
            TailproofError: the file is not a table of text, or lacks a column.
        """
        self.file = file
        self.comments = 0
        self._configured = configured
        self._content = read_bytes(file, limit=LARGEST)
        self.encoding = encoding or marked_encoding(self._content)
        self._refuse_other_files()
        lines = list(islice(self._lines(), SEARCHED_LINES))
        separators, start = tuple(SEPARATORS), 0
        if lines and (match := SEPARATOR_LINE.fullmatch(lines[0])):
            separators, start = (match[1], *SEPARATORS), 1
        start, self.separator = self._find_header(lines, start, separators, columns)
        self.header = _names(lines[start:], self.separator)
        self._spaced = any(f'{self.separator} "' in line for line in lines)
        self._positions = [
            self._position(name, columns, lines, start + 1, separators) for name in columns
        ]
        self.start = start

    def rows(self) -> Iterator[Row]:
        """Yield the rows below the header with the cells of `columns`; blank rows are skipped."""
        width, first = len(self.header), self._positions[0]
        records = self._records(self.start)
        next(records)
        numbered: bool | None = None  # whether rows begin with a number that the header lacks
        for line, cells in records:
            if numbered is None:
                numbered = len(cells) == width + 1 and cells[0].isdecimal()
            if numbered and len(cells) == width + 1:
                del cells[0]
            while len(cells) > width and not cells[-1].strip():
                cells.pop()
            if self.separator == "|" and all(RULE.fullmatch(cell.strip()) for cell in cells):
                continue
            if len(cells) == width and cells[first].strip():
                yield Row(line, [cells[position] for position in self._positions])
            elif not any(cell.strip() for cell in cells):
                continue
            elif len(cells) == width:
                name = self.header[first]
                fault = f"has no value in the column '{name}': enter one or remove the row"
                yield Row(line, [], fault)
            elif cells[0].lstrip().startswith("#"):
                self.comments += 1
            else:
                separator = SEPARATORS.get(self.separator, f"'{self.separator}'")
                yield Row(
                    line,
                    [],
                    f"has {quantity(len(cells), 'cell')}, but the header has {width}: look for a "
                    f"{separator} that needs quotes, or for a truncated line",
                )

    def _find_header(
        self, lines: list[str], start: int, separators: Sequence[str], columns: Sequence[str]
    ) -> tuple[int, str]:
        """Return the position of the header among the lines, and the separator.

        The separator is the one that gives the header the most needed columns.
        """
        for number in range(start, len(lines)):
            names = {each: _names(lines[number:], each) for each in separators}
            separator = max(separators, key=lambda each: _fit(names[each], columns))
            comment = lines[number].startswith("#") and _fit(names[separator], columns)[0] == 0
            self.comments += comment
            if lines[number].strip() and not comment:
                return number, separator
        if len(lines) == SEARCHED_LINES:
            raise TailproofError(
                f"{self.file} has no header in its first {SEARCHED_LINES} lines, which are blank "
                "or comments: remove them"
            )
        raise TailproofError(
            f"{self.file} is empty, expected a header and one row per image: save the table again"
        )

    def _position(
        self,
        name: str,
        columns: Sequence[str],
        lines: list[str],
        line: int,
        separators: Sequence[str],
    ) -> int:
        places = _places(self.header, name)
        if len(places) == 1:
            return places[0]
        if places:
            raise TailproofError(
                f"{self.file} has {len(places)} columns with the name '{name}': rename all but one"
            )
        later = [
            number
            for number in range(line, len(lines))
            for separator in separators
            if _fit(_names(lines[number:], separator), columns)[0] == len(columns)
        ]
        if later:
            raise TailproofError(
                f"{self.file}, line {later[0] + 1} seems to be the header, not line {line}: remove "
                "the lines above the header, or begin them with '#'"
            )
        listed_files = [cell for cell in self.header if Path(cell).suffix.lower() in SUFFIXES]
        if listed_files:
            raise TailproofError(
                f"{self.file} has no header: its first line lists the image '{listed_files[0]}'; "
                "write a line with the names of the columns above it, such as "
                f"{self.separator.join(columns)}"
            )
        blanks = len(self.header) == 1 and " " in self.header[0]
        raise TailproofError(
            f"{self.file} has no column '{name}'{suggestion(name, self.header)}; its columns are: "
            f"{listed(self.header, 30)[:600]} "
            + (
                "(spaces do not separate columns: save the table with commas)"
                if blanks
                else "(correct the names of columns in data.source, such as ranks and group, or in "
                "data.context)"
                if self._configured
                else "(rename one)"
            )
        )

    def _lines(self) -> Iterator[str]:
        """Yield the lines of the text, with their ends."""
        with self._readable():
            yield from io.TextIOWrapper(io.BytesIO(self._content), self.encoding, newline="")

    def _records(self, start: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line and the cells of each record from a line on."""
        line = start + 1
        try:
            reader = csv.reader(
                islice(self._lines(), start, None),
                delimiter=self.separator,
                strict=True,
                skipinitialspace=self._spaced,
            )
            for cells in reader:
                if cells:
                    yield line, cells
                line = start + reader.line_num + 1
        except csv.Error as error:
            raise TailproofError(
                f"{self.file}, line {line} is not valid CSV ({error}): look for a quote that is "
                "not closed, or a truncated file"
            ) from None

    def _refuse_other_files(self) -> None:
        if kind := other_kind_of_table(self._content):
            raise TailproofError(f"{self.file} is {kind}")
        if self.encoding == "utf-8-sig" and b"\0" in self._content:
            raise TailproofError(
                f"{self.file} contains zero bytes: it is a binary file, or UTF-16 text without a "
                "byte order mark; save the table as 'CSV UTF-8'"
            )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError:
            raise TailproofError(self._undecodable()) from None

    def _undecodable(self) -> str:
        """Name the first line that is not text; the stream decodes blocks, not lines."""
        if self.encoding != "utf-8-sig":
            marked = marked_encoding(self._content) == self.encoding
            advice = "save it as 'CSV UTF-8'" if marked else "correct data.source.encoding"
            return f"{self.file} is not {self.encoding} text: {advice}"
        for number, line in enumerate(self._content.splitlines(), start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                before, after = line[: error.start], line[error.start :]
                word = re.split(rb"[^\w\x80-\xff]", before)[-1] + re.split(rb"[,;\t|\"]", after)[0]
                if not self._configured:
                    return f"{self.file}, line {number} is not UTF-8 text: save it as 'CSV UTF-8'"
                return (
                    f"{self.file}, line {number} is not UTF-8 text: save the table as "
                    f"'CSV UTF-8', or set data.source.encoding to cp1252 (Windows, Western Europe) "
                    f"if '{word.decode('cp1252', 'replace')}' is spelled correctly, else to the "
                    "right one"
                )
        return f"{self.file} is not UTF-8 text: save the table as 'CSV UTF-8'"


def other_kind_of_table(content: bytes) -> str:
    """Say what content is instead of a text table, and what to do; empty if it may be one."""
    kinds = (kind for start, kind in OTHER_FILES.items() if content.startswith(start))
    return next(kinds, "") or other_kind(content)


def find_encoding(content: bytes) -> str | None:
    """Return the encoding of a text that is not UTF-8, by its byte order mark or else cp1252."""
    marked = marked_encoding(content)
    if marked != "utf-8-sig":
        return marked
    try:
        content.decode(marked)
    except UnicodeDecodeError:
        return "cp1252"
    return None


def marked_encoding(content: bytes) -> str:
    """Return the encoding that the byte order mark of a text says, else UTF-8."""
    return next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8-sig")


def read_text_of_tables(path: str | Path) -> str:
    """Return a text as spreadsheets save it: UTF-8, or what its byte order mark says.

    Raises:
        TailproofError: it cannot be read, or is no text.
    """
    content = read_bytes(path)
    if kind := other_kind(content):
        raise TailproofError(f"{path} is {kind}")
    encoding = marked_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TailproofError(
            f"{path} is not {encoding.removesuffix('-sig').upper()} text (byte {error.start}): "
            "save it as 'CSV UTF-8' or as text in UTF-8"
        ) from None


def _names(lines: Sequence[str], separator: str) -> list[str]:
    """Return the names in the first record; none if it is not valid with this separator."""
    spaced = bool(lines) and f'{separator} "' in lines[0]
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=spaced)
    try:
        names = [cell.strip("\ufeff \t\r\n") for cell in next(reader, [])]
    except csv.Error:
        return []
    while names and not names[-1]:
        names.pop()
    if names and len(names[0]) > 1:
        names[0] = names[0].lstrip("# ")  # some programs mark the header as a comment
    return names


def _fit(names: Sequence[str], columns: Sequence[str]) -> tuple[int, int]:
    """Return how many needed columns are among the names, and how many names there are."""
    return sum(bool(_places(names, column)) for column in columns), len(names)


def _places(names: Sequence[str], column: str) -> list[int]:
    """Return the positions of a column. Capitals matter only if a name has the same ones."""
    exact = [place for place, name in enumerate(names) if name == column]
    folded = column.casefold()
    return exact or [place for place, name in enumerate(names) if name.casefold() == folded]
