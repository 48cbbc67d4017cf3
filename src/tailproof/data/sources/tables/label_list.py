"""Reads lists with an image and its label in each line, as of ImageNet-LT and Places-LT.

The label is what follows the last suffix of an image, or else the last field: file names may
contain blanks and commas. Tabs, semicolons, commas and blanks separate the two.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.tables.text_table import LARGEST, marked_encoding, other_kind_of_table
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import read_bytes

_SUFFIX = "|".join(map(re.escape, sorted(SUFFIXES)))
SEPARATORS = {
    sign: re.compile(rf'(.*(?:{_SUFFIX})"?){pattern}(\S.*)', re.IGNORECASE)
    for sign, pattern in {"\t": r" *\t\s*", ";": r"\s*;\s*", ",": r"\s*,\s*", " ": r"\s+"}.items()
}
"""A line by what separates its two fields, in the order in which they are tried."""
SEVERAL = re.compile(r"-?\d+(\s+-?\d+)+")
NUMBER = re.compile(r"-?\d+")
LINE_ENDS = re.compile(r"\r\n|\n|\r")
LOOKED_AT = 1000  # lines


class Entry(NamedTuple):
    """A line of a list; `fault` says why it cannot be used."""

    line: int
    path: str
    label: str
    fault: str | None = None


class LabelList:
    """A list of images and labels.

    Attributes:
        file: the file.
        comments: the numbers of the lines that begin with ``#``.
    """

    def __init__(self, file: Path) -> None:
        """Read the file.

        Raises:
            TailproofError: it is not a text, or is a table with a header.
        """
        self.file = file
        content = read_bytes(file, limit=LARGEST)
        if kind := other_kind_of_table(content):
            raise TailproofError(f"{file} is {kind}")
        try:
            text = content.decode(marked_encoding(content))
        except UnicodeError:
            raise TailproofError(f"{file} is not UTF-8 text: save it as UTF-8") from None
        lines = [(n, line.strip()) for n, line in enumerate(LINE_ENDS.split(text), start=1)]
        self._lines = [(n, line) for n, line in lines if line and line[0] != "#"]
        self.comments = [n for n, line in lines if line.startswith("#")]
        self._separator = self._find_separator()
        self._refuse_header()

    def __len__(self) -> int:
        return len(self._lines)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries; blank lines and comments are skipped."""
        for number, line in self._lines:
            path, label = self._split(line)
            several = self._separator != " " and self._separator in label
            fault = None
            if not path or not label:
                fault = f"is '{line[:80]}', expected an image and its label: correct or remove it"
            elif several or SEVERAL.fullmatch(label):
                fault = f"has several labels ('{label}'), expected one: keep one of them"
            yield Entry(number, path, label, fault)

    def _find_separator(self) -> str:
        lines = [line for _, line in self._lines[:LOOKED_AT]]
        for sign, pattern in SEPARATORS.items():
            if sum(map(bool, map(pattern.fullmatch, lines))) > len(lines) / 2:
                return sign
        return next((sign for sign in SEPARATORS if all(sign in line for line in lines)), " ")

    def _split(self, line: str) -> tuple[str, str]:
        match = SEPARATORS[self._separator].fullmatch(line)
        fields = match.groups() if match else line.rsplit(self._separator.strip() or None, 1)
        path, label = (*fields, "", "")[:2]
        return path.strip().strip('"'), label.strip().strip('"')

    def _refuse_header(self) -> None:
        entries = [self._split(line) for _, line in self._lines[:2]]
        is_image = [PurePosixPath(path).suffix.lower() in SUFFIXES for path, _ in entries]
        if is_image == [False, True] and not NUMBER.fullmatch(entries[0][1]):
            line, text = self._lines[0]
            raise TailproofError(
                f"{self.file}, line {line} is a header ('{text[:80]}'), expected an image and its "
                "label: read the file with the source metadata_csv (fields filename and ranks), or "
                "remove the line"
            )
