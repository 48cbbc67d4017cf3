"""Finds the output of MegaDetector that is next to labelled pictures, to cut out its boxes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tailproof.data.sources.base import Recognition
from tailproof.data.sources.folders.split_files import file_names, files_near
from tailproof.data.sources.json_files.recognition import read_head
from tailproof.importer.collection import Collection, read_collection, read_source
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity

CUT = ("image_folder", "metadata_csv", "image_list", "coco_json")
"""Sources whose pictures can be cut."""


@dataclass(frozen=True)
class Cropped:
    """A collection whose samples are the boxes of an output of MegaDetector.

    Attributes:
        recognition: what the collection is taken for.
        collection: what is in it.
        file: the output.
    """

    recognition: Recognition
    collection: Collection
    file: Path

    @property
    def pictures(self) -> int:
        """The number of pictures with a box."""
        return self.collection.table["path"].nunique()


def crop_to_detections(
    path: Path, recognition: Recognition, collection: Collection
) -> tuple[Recognition, Collection]:
    """Return the boxes that MegaDetector found in a collection, each as a sample.

    Of several outputs, the one with boxes in most pictures is used; of equal ones the last by name,
    such as that of version 5 rather than 4. Without an output for these pictures, or if fewer than
    two classes have a box, the collection stays as it is.

    Args:
        path: what the user imports.
        recognition: what it is taken for.
        collection: the whole pictures.
    """
    source = recognition.source
    if source["name"] not in CUT or "crops" in source or "box" in source:
        return recognition, collection
    folder = path if path.is_dir() else path.parent
    near = files_near(folder, [".json"])
    above = sorted(folder.absolute().parent.glob("*.json"))  # next to the folder
    outputs = [file for file in (*near, *above) if _is_output(file)]
    doubts = []
    cropped: list[Cropped] = []
    for file in outputs:
        try:
            cropped.append(_crop(recognition, collection, file))
        except TailproofError as error:
            if file in near:
                doubts.append(f"the boxes of MegaDetector are not used: {error}")
    if not cropped:
        return replace(recognition, doubts=(*recognition.doubts, *doubts)), collection
    best = max(cropped, key=lambda each: (each.pictures, str(each.file)))
    others = [each.file for each in cropped if each is not best]
    if others:
        doubts.append(f"boxes are those of {best.file.name}, not of {file_names(others)}")
    doubts += _describe_losses(collection, best)
    return (
        replace(best.recognition, doubts=(*recognition.doubts, *doubts)),
        best.collection,
    )


def _is_output(file: Path) -> bool:
    head = read_head(file)
    return head is not None and head.is_megadetector


def _crop(recognition: Recognition, collection: Collection, file: Path) -> Cropped:
    """Return the boxes of one output.

    Raises:
        TailproofError: it is damaged or of other pictures, or fewer than two classes have a box.
    """
    source = _with_detections(recognition.source, file)
    boxes = read_collection(read_source(source))
    if len(boxes.counts) < min(2, len(collection.counts)):
        raise TailproofError(f"{file} has boxes of animals in one class only")
    pictures = boxes.table["path"].nunique()
    note = (
        f"boxes: {file.name} is output of MegaDetector, whose boxes of animals in "
        f"{quantity(pictures, 'picture')} are the samples; without 'crops' they are whole pictures"
    )
    cropped = replace(recognition, source=source, notes=(*recognition.notes, note))
    return Cropped(cropped, boxes, file)


def _with_detections(source: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return the section of a source with boxes; its root becomes a folder that has the file."""
    root = Path(source["root"])
    below = os.path.relpath(root, file.parent)
    if source["name"] == "image_folder" and not below.startswith((".", os.sep)):
        above = len(Path(below).parts)
        root = Path(os.path.normpath(root.joinpath(*[".."] * above)))
        source = dict(_moved(source, root, below))
    place = os.path.relpath(file, root)
    return {**source, "crops": {"detections": Path(place).as_posix()}}


def _moved(source: dict[str, Any], root: Path, below: str) -> Iterator[tuple[str, Any]]:
    """Yield the fields of class folders as seen from a folder above theirs."""
    pools = [name for name in ("train", "val", "test") if name in source]
    for name, value in source.items():
        if name == "root":
            yield name, str(root)
        elif name in pools:
            yield name, f"{below}/{value}"
        else:
            yield name, value
    if not pools:
        yield "train", below


def _describe_losses(collection: Collection, best: Cropped) -> Iterator[str]:
    """Say how many pictures have no box, and of which classes most have none."""
    whole = len(collection.table)
    if best.pictures == whole:
        return
    kept = best.collection.table.drop_duplicates("path")[collection.target].value_counts()
    lost = [
        f"'{name}' ({count - kept.get(name, 0):,} of {count:,})"
        for name, count in collection.counts.items()
        if 2 * kept.get(name, 0) < count
    ]
    most = f", most of all in {listed(lost)}" if lost else ""
    yield (
        f"{quantity(whole - best.pictures, 'picture')} of {whole:,} without a box of an animal are "
        f"left out{most}; remove 'crops' to train on whole pictures"
    )
