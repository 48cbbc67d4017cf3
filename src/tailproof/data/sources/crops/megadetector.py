"""Reads the output of MegaDetector, and gives its boxes to the samples of a source.

The format is https://lila.science/megadetector-output-format. 500,000
pictures with 1,000,000 boxes take 14 s and 260 MB, with what `cropped_source` keeps.
"""

import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from math import isnan
from pathlib import Path
from posixpath import basename, normpath
from typing import Any

from tailproof.config.data import Crops
from tailproof.data.sources.base import Box, Sample, Skipped, Source
from tailproof.data.sources.crops.cut import FRACTIONS, float_or_nan, four_numbers
from tailproof.data.sources.folders.filesystem import LeftOut
from tailproof.data.sources.json_files.json_stream import JsonStream
from tailproof.data.sources.problems import Problems
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.runtime.progress import track
from tailproof.text import listed
from tailproof.untrusted_text import printable

THRESHOLD = 0.2
"""Lowest confidence if neither the configuration nor the file names one: that of MegaDetector 5."""
TRIED = 100
"""Pictures that are looked for to find the folder that the paths in the file are relative to."""
FORMAT = "expected the output of MegaDetector: images with file and detections"


class DetectedBoxes:
    """The boxes that MegaDetector found in the pictures of a source.

    Attributes:
        file: the output of MegaDetector.
    """

    def __init__(self, source: Source, crops: Crops, detections: str) -> None:
        self.source, self.crops = source, crops
        self.file = Path(source.root or "", detections)
        self._left_out, self._unused = LeftOut(), 0

    def samples(self) -> Iterator[Sample]:
        """Yield a sample for each box; its number is the position among all boxes of the picture.

        Raises:
            TailproofError: the file is damaged, or lists no picture of the source.
        """
        output, shift, left_out = self._output, self._shift, LeftOut()
        wanted = {code for code, name in output.names.items() if name in self.crops.categories}
        pictures = 0
        for sample in self.source.samples():
            in_file = shift.in_file(sample.path)
            picture = None if in_file is None else output.pictures.get(in_file)
            pictures += picture is not None
            count = 0
            for number, index in enumerate(output.boxes_of(picture)):
                name = f"{sample.path}:{number}"
                if output.categories[index] not in wanted:
                    category = output.names.get(output.categories[index], "unknown category")
                    left_out.add(f"boxes of {category}", name)
                elif not output.confidences[index] >= self._threshold:
                    left_out.add(f"boxes with a confidence below {self._threshold:g}", name)
                else:
                    count += 1
                    yield replace(sample, sample_id=name, row=number, box=output.box(index))
            if not count:
                left_out.add(self._why_none(picture), sample.path)
        self._left_out, self._unused = left_out, len(output.pictures) - pictures

    def skipped(self) -> list[Skipped]:
        """Return what the last pass over `samples` left out."""
        unused = Skipped(f"files in {self.file.name} that are no samples", self._unused)
        return [*self._left_out.skipped(), *([unused] if unused.count else [])]

    def warnings(self) -> list[str]:
        """Return sentences about the paths in the file."""
        return self._shift.warnings(self.file)

    @cached_property
    def _output(self) -> "_Output":
        output = _Output(self.file)
        known = list(output.names.values())
        for category in self.crops.categories:
            if category not in known:
                raise TailproofError(
                    f"{self.file} has no category '{category}'{suggestion(category, known)}; its "
                    f"categories are: {listed(known, 20)} (correct data.source.crops.categories)"
                )
        return output

    @cached_property
    def _threshold(self) -> float:
        given = self.crops.min_confidence
        return self._output.threshold if given is None else given

    @cached_property
    def _shift(self) -> "_Shift":
        step = max(len(self.source) // TRIED, 1)
        paths = [sample.path for sample in self.source.samples()][::step]
        shift = _find_shift(paths, self._output.pictures)
        if shift is None:
            first = next(iter(self._output.pictures), "nothing")
            raise TailproofError(
                f"{self.file} lists none of the pictures in {self.source.root}, or names that "
                f"match several of them: its first name is '{first}', the first picture is "
                f"'{paths[0]}'; set data.source.crops.detections to the output for these pictures"
            )
        return shift

    def _why_none(self, picture: int | None) -> str:
        if picture is None:
            return f"pictures that {self.file.name} does not list"
        if self._output.failed[picture]:
            return "pictures that MegaDetector could not read"
        return f"pictures without a box of {' or '.join(self.crops.categories)}"


class _Output:
    """An output file.

    Attributes:
        pictures: the number of each file.
        failed: whether MegaDetector could not read it.
        categories: the code of the category of each box.
        confidences: the confidence of each box.
        names: the name of each category by its code.
        threshold: the confidence from which on most boxes are right.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.pictures: dict[str, int] = {}
        self.failed = bytearray()
        self.categories, self.confidences = array("i"), array("d")
        self.names: dict[int, str] = {}
        self.threshold = THRESHOLD
        self._numbers, self._starts = array("d"), array("q", [0])
        self._codes: dict[str, int] = {}
        self._problems = Problems("entry")
        self._read()

    def boxes_of(self, picture: int | None) -> range:
        """Return the indices of the boxes of a file."""
        if picture is None:
            return range(0)
        return range(self._starts[picture], self._starts[picture + 1])

    def box(self, index: int) -> Box:
        """Return a box."""
        x, y, width, height = self._numbers[4 * index : 4 * index + 4]
        return Box(x, y, width, height, FRACTIONS)

    def _read(self) -> None:
        stream = JsonStream(self.file)
        for key, value in track(stream, f"read {self.file.name}"):
            if key == "images":
                self._add_picture(value)
            elif key == "detection_categories" and isinstance(value, dict):
                self.names = {self._code(id): printable(name) for id, name in value.items()}
            elif key == "info" and isinstance(value, dict):
                self._read_threshold(value.get("detector_metadata"))
        if stream.kinds.get("images") != "list" or "detection_categories" not in stream.kinds:
            keys = listed(list(stream.kinds), 8) or "none"
            raise TailproofError(
                f"{self.file} has the keys {keys}, {FORMAT}, and detection_categories: correct "
                "data.source.crops.detections"
            )
        self._problems.check()

    def _read_threshold(self, metadata: Any) -> None:
        typical = metadata.get("typical_detection_threshold") if isinstance(metadata, dict) else 0
        if 0 < (threshold := float_or_nan(typical)) < 1:
            self.threshold = threshold

    def _add_picture(self, entry: Any) -> None:
        where = f"{self.file}, images[{len(self.failed)}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            is_coco = isinstance(entry, dict) and "file_name" in entry
            kind = (
                "is an entry of a COCO file (use the source coco_json)"
                if is_coco
                else "has no file"
            )
            raise TailproofError(f"{where} {kind}, {FORMAT}")
        path = plain_path(entry["file"])
        if self.pictures.setdefault(path, len(self.failed)) != len(self.failed):
            self._problems.add(where, f"lists '{path}' again: remove one of the two")
        boxes = entry.get("detections")
        self.failed.append(not isinstance(boxes, list))
        for box in boxes if isinstance(boxes, list) else ():
            confidence = float_or_nan(box.get("conf") if isinstance(box, dict) else None)
            if isnan(confidence):
                self._problems.add(
                    f"{where} ('{path}')", "has a detection without a number 'conf': correct it"
                )
                continue
            self.categories.append(self._code(box.get("category")))
            self.confidences.append(confidence)
            self._numbers.extend(four_numbers(box.get("bbox")))
        self._starts.append(len(self.categories))

    def _code(self, category: Any) -> int:
        return self._codes.setdefault(str(category), len(self._codes))


class _Shift:
    """How the paths of a source become those in the file: another folder is in front of them."""

    def __init__(self, below_root: str, in_file: str) -> None:
        self._below_root, self._in_file = below_root, in_file

    def in_file(self, path: str) -> str | None:
        """Return the path in the file; None if it cannot be there."""
        plain = plain_path(path)
        if not plain.startswith(self._below_root):
            return None
        return self._in_file + plain[len(self._below_root) :]

    def warnings(self, file: Path) -> list[str]:
        """Return a sentence if the paths are relative to another folder."""
        if self._below_root == self._in_file:
            return []
        return [
            f"{file}: its paths are relative to a folder other than data.source.root: "
            f"'{self._in_file}…' is read as '{self._below_root}…'"
        ]


def plain_path(path: str) -> str:
    """Return a path in the form that is compared: slashes, no '.', one Unicode form."""
    text = path.replace("\\", "/")
    return normpath(text if text.isascii() else unicodedata.normalize("NFC", text))


def _find_shift(paths: Iterable[str], pictures: Iterable[str]) -> _Shift | None:
    """Return the shift by which most paths are among the pictures.

    Only one of the two may have folders in front: cameras give the same names to their files, so
    that names alone mean nothing.

    Returns:
        None if no path is, or as many are by another shift.
    """
    by_name: dict[str, list[str]] = {basename(path): [] for path in map(plain_path, paths)}
    for picture in pictures:
        if (name := basename(picture)) in by_name:
            by_name[name].append(picture)
    counts: Counter[tuple[str, str]] = Counter()
    for path in map(plain_path, paths):
        for picture in by_name[basename(path)]:
            if path.endswith(f"/{picture}") or picture.endswith(f"/{path}") or path == picture:
                common = min(len(path), len(picture))
                counts[path[:-common], picture[:-common]] += 1
    (best, count), (_, second) = [*counts.most_common(2), (("", ""), 0), (("", ""), 0)][:2]
    return _Shift(*best) if count > second else None
