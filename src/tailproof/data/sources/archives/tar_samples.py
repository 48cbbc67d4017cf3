"""Groups the members of tars to samples by their names, as WebDataset does."""

import re
import tarfile
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import isnan
from pathlib import Path
from typing import Any

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.archives.tar_members import Tar
from tailproof.data.sources.folders.class_folders import reason_not_a_picture
from tailproof.data.sources.folders.filesystem import LeftOut
from tailproof.data.sources.problems import Problems
from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.data.sources.tables.missing_values import text_or_none
from tailproof.files import parse_json
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_text import is_encodable

NAME = re.compile(r"((?:.*/|)[^./]+)\.([^/]*)", re.DOTALL)
"""The key and the suffix of a member: the suffix begins at the first dot of its file name."""
META = re.compile(r"__[^/]*__($|/)")
JSON = ("json", "jsn")
LARGEST_LABEL = 1 << 20  # bytes
SUFFIXES_SHOWN = 12


def is_json(suffix: str) -> bool:
    """Return whether the files with a suffix contain JSON."""
    return suffix.rpartition(".")[2] in JSON


class TarSamples:
    """The samples of several tars, stored by column: 20 bytes per sample, and its key.

    A sample may have its files anywhere in its tar. (WebDataset reads them only if they follow each
    other.)

    Attributes:
        starts: the first sample of each tar, then the number of all samples.
        keys: the key of each sample.
        offsets: the position of the header of each image in its tar.
        columns: the values of each sample, in the order of `places`.
        left_out: counts the members that belong to no sample.

    Args:
        root: the folder that the tars' paths are relative to.
        images: suffixes of the image of a sample; None: any suffix of a picture.
        places: where the values are: a suffix, or the suffix of a JSON file and a key in it.
    """

    def __init__(self, root: Path, images: Sequence[str] | None, places: Iterable[str]) -> None:
        self.starts: list[int] = []
        self.keys: list[str] = []
        self.offsets = array("q")
        self.columns: list[LabelColumn] = []
        self.left_out = LeftOut()
        self._root, self._images = root, images
        self._tars: list[str] = []
        self._wanted: dict[str, list[tuple[LabelColumn, str]]] = {}
        for place in places:
            suffix, _, key = place.partition(":")
            self.columns.append(LabelColumn())
            self._wanted.setdefault(suffix, []).append((self.columns[-1], key))
        self._bits = {suffix: 1 << number for number, suffix in enumerate(self._wanted)}
        self._read = array("Q")  # the bits of the label files of each sample
        self._rows: dict[str, int] = {}  # the samples of the current tar by key
        self._suffixes: dict[str, None] = {}
        self._problems = Problems("file")

    def start(self, path: str) -> None:
        """Begin with the next tar."""
        self._tars.append(path)
        self.starts.append(len(self.keys))
        self._rows = {}

    def add(self, tar: Tar, member: tarfile.TarInfo) -> None:
        """Add a member of the current tar to its sample."""
        if member.isdir():
            return
        where = f"{self._tars[-1]}:{member.name}"
        name = NAME.fullmatch(member.name)
        if reason := _why_left_out(member):
            self.left_out.add(reason, where)
            return
        if name is None:
            self.left_out.add("files in tars without a key and a suffix", where)
            return
        key, suffix = name[1], name[2].lower()
        if len(self._suffixes) < SUFFIXES_SHOWN:
            self._suffixes[suffix] = None
        if self._is_image(suffix):
            self._add_image(tar, member, self._row(key))
        elif suffix in self._wanted:
            self._add_values(tar, member, self._row(key), suffix)
        else:
            self.left_out.add(reason_not_a_picture(f"x.{suffix}"), where)

    def finish(self) -> None:
        """Drop the samples without an image, once all members were added.

        Raises:
            TailproofError: files of samples cannot be used, or there is no sample.
        """
        self._problems.check()
        self.starts.append(len(self.keys))
        kept = [row for row, offset in enumerate(self.offsets) if offset >= 0]
        if len(kept) < len(self.keys):
            for row in sorted(set(range(len(self.keys))) - set(kept)):
                self.left_out.add("samples without an image", self.place(row))
            self.starts = [bisect_right(kept, start - 1) for start in self.starts]
            self.keys = [self.keys[row] for row in kept]
            self.offsets = array("q", [self.offsets[row] for row in kept])
            for column in self.columns:
                column.keep(kept)
        if not kept:
            wrong = self._images and self._suffixes
            advice = "set data.source.image to one of these suffixes" if wrong else "add images"
            raise TailproofError(
                f"no image is in {self._shown_tars()}: {self._shown_suffixes()}; {advice}"
            )
        for path, (first, end) in zip(self._tars, pairwise(self.starts), strict=True):
            if first == end:
                self.left_out.add("tars without a sample", path)

    def require(self, names: Mapping[str, LabelColumn], places: Mapping[str, str]) -> None:
        """Check that some sample has a value in each column.

        Args:
            names: the columns.
            places: where their values are.

        Raises:
            TailproofError: a column is empty.
        """
        for name, column in names.items():
            if column.names:
                continue
            suffix, _, key = places[name].partition(":")
            missing = f"'{key}' in its .{suffix}" if key else f"a .{suffix} with text"
            raise TailproofError(
                f"{self._shown_tars()}: no sample has {missing}, where data.source looks for "
                f"'{name}': {self._shown_suffixes()}; correct the place, for example to `ranks: "
                "{class: txt}` or `ranks: {class: json:label}`, or if the folders in the "
                "tars are the classes, unpack them and use the source image_folder"
            )

    def place(self, row: int) -> str:
        """Return the tar and the key of a sample."""
        tar = bisect_right(self.starts, row, hi=len(self._tars)) - 1
        return f"{self._tars[tar]}:{self.keys[row]}"

    def _row(self, key: str) -> int:
        row = self._rows.setdefault(key, len(self.keys))
        if row == len(self.keys):
            self.keys.append(key)
            self.offsets.append(-1)
            self._read.append(0)
            for column in self.columns:
                column.add(None)
        return row

    def _is_image(self, suffix: str) -> bool:
        if self._images is not None:
            return suffix in self._images
        return f".{suffix.rpartition('.')[2]}" in SUFFIXES

    def _add_image(self, tar: Tar, member: tarfile.TarInfo, row: int) -> None:
        first = self.offsets[row]
        if first < 0:
            self.offsets[row] = member.offset
            return
        other = tar.name_at(first)
        if other == member.name:
            self._add_problem(member, "is in its tar twice: remove one")
            return
        if _suffix_of(other).lower() == _suffix_of(member.name).lower():
            self._add_problem(member, f"has the suffix of '{other}' in other capitals: remove one")
            return
        raise TailproofError(
            f"{tar.path}: '{other}' and '{member.name}' are pictures of one sample: set "
            f"data.source.image to the suffix of the image, such as {_suffix_of(other)}"
        )

    def _add_values(self, tar: Tar, member: tarfile.TarInfo, row: int, suffix: str) -> None:
        if self._read[row] & self._bits[suffix]:
            self._add_problem(member, "is in its tar twice: remove one")
            return
        self._read[row] |= self._bits[suffix]
        content = tar.content(member, LARGEST_LABEL)
        try:
            text = content.decode("utf-8-sig")
            document = _parsed(text) if is_json(suffix) else text
            for column, key in self._wanted[suffix]:
                column.set(row, _value(document, key))
        except UnicodeDecodeError:
            self._add_problem(member, "is not UTF-8 text: save it as UTF-8")
        except ValueError as error:
            self._add_problem(member, f"{error}: correct it, or data.source")

    def _add_problem(self, member: tarfile.TarInfo, fault: str) -> None:
        self._problems.add(f"{self._root / self._tars[-1]}: '{member.name}'", fault)

    def _shown_tars(self) -> str:
        return listed([str(self._root / path) for path in self._tars], 2)

    def _shown_suffixes(self) -> str:
        if not self._suffixes:
            return "the names of the files have no suffix"
        return f"the files end in {', '.join(f'.{suffix}' for suffix in self._suffixes)}"


def _why_left_out(member: tarfile.TarInfo) -> str | None:
    """Return why a member is part of no sample; None if it is."""
    if not member.isreg() or member.issparse():
        return "links, devices, pipes and sparse files in tars"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "files in tars whose names lead out of their folder"
    if META.match(member.name):
        return "metadata files of tars"
    return None


def _parsed(text: str) -> Any:
    try:
        return parse_json(text, nan=True)
    except ValueError as error:
        raise ValueError(f"is not valid JSON ({error})") from None


def _suffix_of(name: str) -> str:
    match = NAME.fullmatch(name)
    return match[2] if match else ""


def _value(document: Any, key: str) -> str | None:
    """Return a label as text; None if there is none.

    Raises:
        ValueError: it is no label.
    """
    if not key:
        value = text_or_none(document)
        if value and len(value.splitlines()) > 1:
            raise ValueError(
                f"has {quantity(len(value.splitlines()), 'line')}, expected one with a label"
            )
        return value
    if not isinstance(document, dict):
        raise ValueError("contains no JSON object")
    value = _find(document, key)
    if isinstance(value, dict | list):
        raise ValueError(f"has no text or number as '{key}', but a JSON list or object")
    if value is None or (isinstance(value, float) and isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return text_or_none(str(int(value)))
    if isinstance(value, str) and not is_encodable(value):
        raise ValueError(
            f"has {value!a} as '{key}', which contains an incomplete character (a lone surrogate)"
        )
    return text_or_none(str(value).lower() if isinstance(value, bool) else str(value))


def _find(document: dict[str, Any], key: str) -> Any:
    """Return the value of a key, or of keys that are joined by dots; None if there is none."""
    if key in document:
        return document[key]
    value: Any = document
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
