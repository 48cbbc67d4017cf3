"""Writes names that others chose: class names, file names, values of a stranger's file.

`printable` is for terminals, logs and error messages, `csv_line` for every CSV table that a person
may open. A spreadsheet runs a cell that begins with a formula's sign, so such text gets an
apostrophe, which `plain_cell` removes again.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # spelling of Persian and Indic names, and of emoji

# A semicolon, a tab or a line break also starts a cell: in a spreadsheet whose language writes
# decimal commas, cells end at semicolons, and its quotes are not those of this table.
_START = r"(^|[;\t\r\n])('*)"
_SIGN = r"(?=[ \u00a0]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r])"
_FORMULA = re.compile(_START + _SIGN)
_NEUTRALISED = re.compile(_START + "'" + _SIGN)
_NUMBER = re.compile(r"[+-]\d+(\.\d+)?([eE][+-]?\d+)?")


def printable(text: object) -> str:
    """Return text on one line, with escapes for all that a terminal would act on.

    These are control characters, line breaks, marks that change the direction of writing, and
    bytes of a file name that are not UTF-8.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in _INVISIBLE and letter not in _JOINERS
        else letter
        for letter in text
    )


def is_encodable(text: str) -> bool:
    """Return whether text can be written: JSON and names of files may hold half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable_lines(text: object) -> str:
    """Return `printable` text of several lines, all after the first indented.

    No line of a hostile name can thus look like a message of its own.
    """
    first, *rest = map(printable, str(text).split("\n"))
    return "\n".join([first, *(f"  {line}" if line[:1].strip() else line for line in rest)])


@lru_cache(1024)
def spreadsheet_cell(text: str) -> str:
    """Return text that no spreadsheet runs: an apostrophe before ``=``, ``+``, ``-``, ``@``.

    The sign of a plain number stays as it is.
    """
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub(r"\1\2'", text)


def plain_cell(cell: str) -> str:
    """Return the text that `spreadsheet_cell` made a cell of."""
    return _NEUTRALISED.sub(r"\1\2", cell)


def csv_line(cells: Iterable[Any]) -> str:
    """Return a line of a CSV table, in which no text is a formula.

    Args:
        cells: text, numbers, or None for an empty cell.
    """
    line = io.StringIO()
    # csv quotes the characters of its own line end only, and a reader ends a row at either.
    csv.writer(line, lineterminator="\r\n").writerow(
        [spreadsheet_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    )
    return line.getvalue()[:-2] + "\n"
