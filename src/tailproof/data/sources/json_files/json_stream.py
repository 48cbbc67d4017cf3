"""Reads the arrays of a large JSON object item by item, in memory for a few items.

json.load takes about 5 GB for the 700 MB of iNaturalist 2021. This reader holds `BLOCK` characters;
500,000 images and 500,000 annotations in 190 MB take 3 s. It accepts NaN, which iNaturalist 2021
contains, and which streaming parsers such as yajl refuse.
"""

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tailproof.files import distinct_keys
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import open_regular

BLOCK = 2**20  # characters that are read at once
LARGEST = 2**26  # characters of one item
CUT = 2
"""Characters after a number at the end of a block that may belong to it, as ``e+`` in ``1e+7``."""
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encodings by byte order mark; that of UTF-32 begins with that of UTF-16."""
OTHER_FILES = {
    b"\x1f\x8b": "compressed: unpack it",
    b"PK\x03\x04": "a zip archive: unpack it",
    b"BZh": "compressed: unpack it",
    b"\xfd7zXZ": "compressed: unpack it",
    b"<": "a web page or XML: download the file itself",
    b"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
}
"""What a file is that begins with these bytes, and what to do."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(object_pairs_hook=distinct_keys)


class JsonStream:
    """The items of the arrays in a JSON object, and its other values.

    Attributes:
        file: the file.
        kinds: ``list``, ``object`` or ``value`` for each key, as far as the file was read.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.kinds: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield the key and the item for each item of an array, and each other key and value.

        Raises:
            TailproofError: the file is not readable, not JSON, or not an object.
        """
        with open_regular(self.file) as content:
            start = content.read(32)
            for mark, kind in OTHER_FILES.items():
                if start.startswith(mark):
                    raise TailproofError(f"{self.file} is {kind}")
            content.seek(0)
            encoding = next((MARKS[mark] for mark in MARKS if start.startswith(mark)), "utf-8")
            text = _Text(self.file, io.TextIOWrapper(content, encoding))
            yield from self._members(text)
            text.end()

    def _members(self, text: "_Text") -> Iterator[tuple[str, Any]]:
        if (first := text.peek()) != "{":
            found = {"": "nothing", "[": "an array"}.get(first, "another value")
            raise TailproofError(
                f"{self.file} contains {found}, expected a JSON object with arrays such as "
                "images, annotations and categories"
            )
        text.take("{")
        while text.peek() != "}":
            if self.kinds:
                text.take(",")
            key = text.value()
            if not isinstance(key, str) or key in self.kinds:
                raise TailproofError(
                    f"{self.file}, {text.place()}: expected a key that has not occurred before, "
                    f"found {json.dumps(key)[:80]}: remove or correct it"
                )
            text.take(":")
            self.kinds[key] = {"[": "list", "{": "object"}.get(text.peek(), "value")
            if self.kinds[key] == "list":
                yield from ((key, item) for item in text.items())
            else:
                yield key, text.value()
        text.take("}")


class _Text:
    """The text of a file, of which one block is in memory."""

    def __init__(self, file: Path, stream: TextIO) -> None:
        self._file, self._stream = file, stream
        self._block, self._position = "", 0
        self._lines = 1  # the number of the line in which the block begins
        self._at_end = False

    def peek(self) -> str:
        """Return the next sign that is not white space; nothing at the end."""
        while True:
            if space := _SPACE.match(self._block, self._position):
                self._position = space.end()
            if self._position < len(self._block) or self._at_end:
                return self._block[self._position : self._position + 1]
            self._read(BLOCK)

    def take(self, sign: str) -> None:
        """Move on past a sign.

        Raises:
            TailproofError: another sign is next.
        """
        found = self.peek()
        if found != sign:
            raise self._fault(self._position, f"expected '{sign}', found {found!a}")
        self._position += 1

    def items(self) -> Iterator[Any]:
        """Yield the values of an array."""
        self.take("[")
        if self.peek() != "]":
            yield self.value()
        while self.peek() != "]":
            self.take(",")
            yield self.value()
        self.take("]")

    def value(self) -> Any:
        """Return the next value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._block, self._position)
            except json.JSONDecodeError as error:
                position, reason = error.pos, error.msg
                if self._at_end or len(self._block) - self._position > LARGEST:
                    raise self._fault(position, reason) from None
            except ValueError as error:
                raise self._fault(self._position, str(error)) from None
            except RecursionError:
                raise self._fault(self._position, "it is nested too deeply") from None
            else:
                if end + CUT < len(self._block) or self._at_end:
                    self._position = end
                    return value
            self._read(max(BLOCK, len(self._block)))

    def place(self) -> str:
        """Return the line of the current position."""
        return f"line {self._lines + self._block.count(chr(10), 0, self._position)}"

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            TailproofError: there is another value.
        """
        if self.peek():
            raise TailproofError(
                f"{self._file}, {self.place()}: a second value follows the first (JSON lines?), "
                "expected one JSON object in the whole file"
            )

    def _read(self, size: int) -> None:
        """Forget what was read, and read more of the file."""
        self._lines += self._block.count("\n", 0, self._position)
        try:
            more = self._stream.read(size)
        except UnicodeError:
            raise TailproofError(
                f"{self._file} is not {self._stream.encoding} text after {self.place()}: save it "
                "as UTF-8"
            ) from None
        self._block = self._block[self._position :] + more
        self._position = 0
        self._at_end = not more

    def _fault(self, position: int, reason: str) -> TailproofError:
        self._position, before = position, self._position
        if self._at_end and not self._block[before:].rstrip().endswith("}"):
            return TailproofError(
                f"{self._file} ends in the middle of a value ({self.place()}): it is truncated; "
                "fetch it again"
            )
        return TailproofError(
            f"{self._file}, {self.place()} is not valid JSON ({reason}): fetch the file again"
        )
