"""Reads a file in the format of COCO into columns: images, annotations and categories.

iNaturalist and COCO Camera Traps (https://lila.science/coco-camera-traps) extend the format by
fields of images and categories. Identifiers may be numbers or texts.
"""

import math
from array import array
from collections.abc import Collection, MutableMapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.data.sources.base import Box
from tailproof.data.sources.crops.cut import FRACTIONS, float_or_nan, four_numbers
from tailproof.data.sources.json_files.json_stream import JsonStream
from tailproof.data.sources.problems import Problems
from tailproof.data.sources.tables.label_column import LabelColumn
from tailproof.data.sources.tables.missing_values import text_or_none
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track
from tailproof.text import listed
from tailproof.untrusted_files import read_json

KEYS = {
    "images": "",
    "annotations": " (a test set without labels cannot be used)",
    "categories": " (if another file has them, set data.source.categories to it)",
}
"""The arrays that a file needs, and what to know if one is missing."""

NO_OBJECT = "is not an object in braces: correct it"
LOOKED_AT = 1000  # images whose fields are suggested

Id = int | str


class CocoFile:
    """The content of a file. Images are numbered in their order.

    Attributes:
        file: the file.
        names: the file name of each image.
        fields: by name, the values of some fields of the images.
        known_fields: the names of all fields of the first images.
        corrupt: the images that the file calls corrupt.
        image_of: the image of each annotation, integers [N]; -1 if it is not listed.
        category_of: for each annotation the position of its category in `categories`.
        has_box: whether each annotation has a box and is no crowd, if boxes are read.
        categories: the categories by identifier, also those that are not listed, without fields.
        sequence_labels: number of annotations that are of a sequence rather than an image.
        repeated: the numbers of images, and of annotations, that are listed again.
    """

    def __init__(
        self,
        file: Path,
        fields: Collection[str],
        categories: dict[Id, dict[str, Any]] | None,
        *,
        boxes: bool,
    ) -> None:
        """Read the file.

        Args:
            file: the file.
            fields: the fields of images that are kept.
            categories: the categories in place of those in the file.
            boxes: whether to keep the boxes.

        Raises:
            TailproofError: it is not such a file, or entries of it cannot be used.
        """
        self.file = file
        self.names: list[str] = []
        self.fields = {field: LabelColumn() for field in fields}
        self.known_fields: dict[str, None] = {}
        self.corrupt: list[int] = []
        self.categories: dict[Id, dict[str, Any] | None] = dict(categories or {})
        self._has_categories = categories is not None
        self.sequence_labels = 0
        self.repeated = [0, 0]
        self._boxes = array("d") if boxes else None
        self._relative, self._has_box = bytearray(), bytearray()
        self._sizes = array("d")
        self._ids: dict[Id, int] = {}
        self._row_of_id = array("i")
        self._image_ids, self._category_ids = array("i"), array("i")
        self._annotation_ids = array("q")
        self._codes: dict[Id, int] = {}
        self._problems = Problems("entry")
        self._read()

    def box(self, annotation: int) -> Box:
        """Return the box of an annotation, in the unit of the size that the file gives."""
        assert self._boxes is not None  # the boxes were kept
        x, y, width, height = self._boxes[4 * annotation : 4 * annotation + 4]
        if self._relative[annotation]:
            return Box(x, y, width, height, FRACTIONS)
        image = self.image_of[annotation]
        across, down = self._sizes[2 * image : 2 * image + 2]
        known = 0 < across < math.inf and 0 < down < math.inf
        return Box(x, y, width, height, (across, down) if known else None)

    def where(self, image: int) -> str:
        """Return the place of an image, for messages."""
        return f"{self.file}, image '{self.names[image]}'"

    def _read(self) -> None:
        add = {"images": self._add_image, "annotations": self._add_annotation}
        if not self._has_categories:
            add["categories"] = lambda category: add_category(self.categories, category)
        counts = dict.fromkeys(add, 0)
        stream = JsonStream(self.file)
        for key, item in track(stream, f"read {self.file.name}"):
            if key in add:
                fault = add[key](item) if isinstance(item, dict) else NO_OBJECT
                if fault:
                    self._problems.add(f"{self.file}, {key}[{counts[key]}]", fault)
                counts[key] += 1
        for key in add:
            if stream.kinds.get(key) != "list":
                raise TailproofError(
                    f"{self.file} has no array '{key}'{KEYS[key]}; its keys are: "
                    f"{listed(list(stream.kinds), 8) or 'none'} (expected a file in the format of "
                    "COCO)"
                )
        self._problems.check()
        self._join()

    def _add_image(self, image: dict[str, Any]) -> str | None:
        """Append an image, or return what is wrong with it."""
        id, name = _id(image.get("id", image.get("image_id"))), image.get("file_name")
        if id is None:
            return _no_id("id", image)
        if not isinstance(name, str) or not name.strip():
            return f"(id {id!r}) has no file_name: enter it or remove the image"
        number = self._number_of(id)
        row = self._row_of_id[number]
        if row >= 0:
            self.repeated[0] += 1
            return _same_id(id, name, self.names[row]) if self.names[row] != name else None
        self._row_of_id[number] = row = len(self.names)
        self.names.append(name)
        for field, column in self.fields.items():
            column.add(_text(image.get(field)))
        if row < LOOKED_AT:
            self.known_fields |= dict.fromkeys(image)
        if image.get("corrupt") is True:
            self.corrupt.append(row)
        if self._boxes is not None:
            self._sizes.extend(
                (float_or_nan(image.get("width")), float_or_nan(image.get("height")))
            )
        return None

    def _add_annotation(self, annotation: dict[str, Any]) -> str | None:
        """Append an annotation, or return what is wrong with it."""
        image, category = _id(annotation.get("image_id")), _id(annotation.get("category_id"))
        if image is None or category is None:
            return _no_id("image_id" if image is None else "category_id", annotation)
        self._image_ids.append(self._number_of(image))
        self._category_ids.append(self._codes.setdefault(category, len(self._codes)))
        self.sequence_labels += annotation.get("sequence_level_annotation") is True
        if (id := _id(annotation.get("id"))) is not None:
            self._annotation_ids.append(hash(id))
        if self._boxes is not None:
            relative = annotation.get("bbox") is None
            box = annotation.get("bbox_relative" if relative else "bbox")
            self._boxes.extend(four_numbers(box))
            self._relative.append(relative)
            self._has_box.append(box not in (None, []) and not annotation.get("iscrowd"))
        return None

    def _number_of(self, id: Id) -> int:
        number = self._ids.setdefault(id, len(self._ids))
        if number == len(self._row_of_id):
            self._row_of_id.append(-1)
        return number

    def _join(self) -> None:
        """Find the image and the category of each annotation, and forget the identifiers."""
        rows = np.array(self._row_of_id, np.intc)
        for id, number in self._ids.items():
            if rows[number] < 0 and (other := self._ids.get(_other_type(id))) is not None:
                rows[number] = rows[other]
        self.image_of = rows[np.frombuffer(self._image_ids, np.intc)]
        places = {id: place for place, id in enumerate(self.categories)}
        for id in self._codes:
            if id not in places:
                places[id] = places.get(_other_type(id), len(self.categories))
                if places[id] == len(self.categories):
                    self.categories[id] = None
        place_of = np.array([places[id] for id in self._codes], np.intc)
        self.category_of = place_of[np.frombuffer(self._category_ids, np.intc)]
        self.has_box = np.frombuffer(self._has_box, np.uint8).astype(bool)
        ids = np.frombuffer(self._annotation_ids, np.int64)
        self.repeated[1] = len(ids) - len(np.unique(ids))
        del self._ids, self._row_of_id, self._image_ids, self._category_ids, self._annotation_ids


def read_categories(file: Path) -> dict[Id, dict[str, Any]]:
    """Return the categories in a file by identifier: a list, or an object with this list.

    Raises:
        TailproofError: the file is not such a file, or entries of it cannot be used.
    """
    content = read_json(file, nan=True)
    entries = content.get("categories") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise TailproofError(
            f"{file} has no categories, expected a list of objects with id and name, such as "
            "categories.json of iNaturalist: correct data.source.categories"
        )
    categories: dict[Id, dict[str, Any]] = {}
    problems = Problems("entry")
    for place, entry in enumerate(entries):
        fault = add_category(categories, entry) if isinstance(entry, dict) else NO_OBJECT
        if fault:
            problems.add(f"{file}, categories[{place}]", fault)
    problems.check()
    return categories


def add_category(categories: MutableMapping[Id, Any], category: dict[str, Any]) -> str | None:
    """Add a category, or return what is wrong with it."""
    id = _id(category.get("id", category.get("category_id")))
    if id is None:
        return _no_id("id", category)
    if "name" not in category and "scientificName" in category:  # as in Herbarium 2021 and 2022
        category = {**category, "name": category["scientificName"]}
    other = categories.setdefault(id, category)
    return _same_id(id, category.get("name"), other.get("name")) if other != category else None


def _same_id(id: Id, name: Any, other: Any) -> str:
    return f"('{name}') has the same id as '{other}', {id!r}: give each one an id of its own"


def _id(value: Any) -> Id | None:
    """Return an identifier; None if the value is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _other_type(id: Id) -> Id:
    """Return a number as text, and the text of a number as that number; other text as it is."""
    if isinstance(id, int):
        return str(id)
    return int(id) if id.isdecimal() and str(int(id)) == id else id


def _no_id(name: str, entry: dict[str, Any]) -> str:
    found = ", ".join(f"{key}: {str(value)[:40]}" for key, value in islice(entry.items(), 3))
    return f"({found}) has no {name}, expected a number or a text: enter it or remove the entry"


def _text(value: Any) -> str | None:
    """Return a value of a field as text; None if there is none."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    return None if value is None else text_or_none(str(value))
