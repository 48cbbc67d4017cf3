"""Reads tables: CSV with any usual delimiter, tables of R, and tables that Excel saved."""

import csv
import io
import re
from itertools import pairwise, takewhile
from pathlib import Path

from tailproof.diagnosis.column_aliases import read_name
from tailproof.diagnosis.readers.cells import is_number, with_decimal_points
from tailproof.diagnosis.readers.table import PassedOver, Table
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

_DELIMITERS = ",;\t|"
_RULE = re.compile(r":?-+:?")
_GRID = re.compile(r"\s*\+[-=+: ]+\+\s*")
_WIDE = "  "
"""The separator of columns that are aligned by two and more spaces."""
_SEPARATOR_OF_EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


def read_delimited(path: Path, text: str) -> Table:
    """Read a table whose first line has the names.

    Raises:
        TailproofError: the text is not a table, or its rows do not match its header.
    """
    lines, delimiter = _lines(text)
    within_text = _table_of_markdown(lines)
    notes = ["A table within the text is read."] if 0 < len(within_text) < len(lines) else []
    lines = within_text or lines
    head = lines[0]
    delimiter = delimiter or max(_DELIMITERS, key=head.count)
    if delimiter not in head and (spaces := _spaces_between(lines)):
        delimiter = spaces
    names, *rows = _cells(path, lines, delimiter) or [[]]
    if len(names) < 2 and not _is_one_curve(head, rows):
        raise TailproofError(
            f"{path} is not a CSV table: its first line has one column, {head[:80]!r}; expected "
            "names such as epoch,train_loss,val_loss"
        )
    if all(is_number(name) for name in names):
        raise TailproofError(
            f"{path} has no header: its first line must name the columns, such as epoch,train_loss"
        )
    names, rows, cut = _matched(path, names, rows)
    passed_over = [PassedOver("unfinished last rows", 1, (f"row {len(rows) + 1}",))] if cut else []
    header = [name.lower() for name in names]
    repeated = [n for n, row in enumerate(rows, 1) if [cell.lower() for cell in row] == header]
    if repeated:
        examples = tuple(f"row {number}" for number in repeated[:3])
        passed_over.append(PassedOver("repeated headers", len(repeated), examples))
        rows = [row for row in rows if [cell.lower() for cell in row] != header]
    rows, commas = with_decimal_points(rows)
    columns = _columns(path, names, rows)
    return Table(
        [{name: row[place] for name, place in columns.items()} for row in rows],
        "table",
        passed_over=tuple(passed_over),
        notes=(*notes, *(["Decimals are written with a comma."] if commas else [])),
    )


def _is_one_curve(name: str, rows: list[list[str]]) -> bool:
    """Return whether a table of one column has the values of a metric, one for each epoch."""
    cells = [cell for row in rows for cell in row]
    return (
        read_name(name).role == "metric" and len(cells) == len(rows) and all(map(is_number, cells))
    )


def _lines(text: str) -> tuple[list[str], str]:
    """Return the lines from the header on, and the delimiter that Excel's first line names."""
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = ""
    if (match := _SEPARATOR_OF_EXCEL.fullmatch(lines[0].strip())) and len(lines) > 1:
        delimiter, lines = match[1], lines[1:]
    comments = []
    while len(lines) > 1 and lines[0].lstrip().startswith("#"):
        comments.append(lines.pop(0).lstrip("# "))
    first = re.split(r"[,;\t| ]", lines[0].strip())[0]
    if comments and is_number(first):  # numpy writes the header as a comment
        lines.insert(0, comments[-1])
    return [line for line in lines if not _GRID.fullmatch(line)] or lines, delimiter


def _table_of_markdown(lines: list[str]) -> list[str]:
    """Return the lines of the first table with a metric in a text; none if there is no table."""
    for place, (head, rule) in enumerate(pairwise(lines)):
        names = [name.strip() for name in head.split("|")]
        rules = [cell.strip() for cell in rule.strip().strip("|").split("|")]
        is_table = "|" in head and all(map(_RULE.fullmatch, rules))
        if is_table and any(read_name(name).role == "metric" for name in names):
            return list(takewhile(lambda line: "|" in line, lines[place:]))
    return []


def _cells(path: Path, lines: list[str], delimiter: str) -> list[list[str]]:
    if delimiter == _WIDE:
        lines, delimiter = [re.sub(r" {2,}|\t", "\t", line.strip()) for line in lines], "\t"
    text = "\n".join(line.strip() if delimiter in " |" else line for line in lines)
    table = csv.reader(
        io.StringIO(text), delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t"
    )
    try:
        rows = [[cell.strip() for cell in row] for row in table]
    except csv.Error as error:
        raise TailproofError(
            f"{path} is not a CSV table ({error}): look for a quote that is not closed"
        ) from None
    if delimiter != "|":
        return rows
    rows = [row for row in rows if not all(_RULE.fullmatch(cell) for cell in row if cell)]
    if all(row[0] == row[-1] == "" for row in rows):
        rows = [row[1:-1] for row in rows]
    return rows


def _spaces_between(lines: list[str]) -> str:
    """Return the spaces that separate names and numbers: one, as in R, or several; or nothing."""
    for spaces, pattern in ((" ", r"\s+"), (_WIDE, r"\s{2,}")):
        names, cells = (re.split(pattern, line.strip()) for line in (lines * 2)[:2])
        numbers = sum(is_number(cell) for cell in cells)
        if len(cells) in (len(names), len(names) + 1) and 2 * numbers >= len(cells) > 1:
            return spaces
    return ""


def _matched(
    path: Path, names: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]], bool]:
    """Return names and rows of one length, and whether the last row was unfinished."""
    lengths = [len(row) for row in rows]
    if rows and all(length == len(names) + 1 for length in lengths):
        if all(row[-1] == "" for row in rows):
            return names, [row[:-1] for row in rows], False
        return ["", *names], rows, False  # R's names of rows have no header
    for number, row in enumerate(rows, start=1):
        if len(row) == len(names):
            continue
        if number == len(rows) > 1 and len(row) < len(names):
            return names, rows[:-1], True
        hint = ": correct the row, or leave it out"
        if len(row) > len(names) and all(cell.isdigit() for cell in row if cell):
            hint = ": decimal commas need quotes, or another delimiter than the comma"
        raise TailproofError(
            f"{path}, row {number} has {quantity(len(row), 'value')}, its header has "
            f"{len(names)}{hint}"
        )
    return names, rows, False


def _columns(path: Path, names: list[str], rows: list[list[str]]) -> dict[str, int]:
    """Return the place of each name; a name that is there twice must have the same values."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        first = places.setdefault(name, place)
        if name and first != place and any(row[first] != row[place] for row in rows):
            raise TailproofError(
                f"{path} has two columns named {name!r} with different values: rename one of them"
            )
    return places
