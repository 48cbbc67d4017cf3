"""Recognizes JSON files of labelled pictures by what they contain, without reading all of it."""

import json
import mmap
import re
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tailproof.data.sources.advised_commands import import_command
from tailproof.data.sources.base import Recognition
from tailproof.data.sources.folders.split_files import (
    SplitFiles,
    as_pools,
    choose_split_files,
    file_names,
    files_near,
    place_sets,
    recognition_of,
)
from tailproof.data.sources.json_files.coco import read_categories
from tailproof.data.sources.json_files.place_splits import read_place_splits
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import open_regular

NAMES = 20  # pictures that are looked for
START = 2**16  # bytes by which a JSON file is recognized
FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


class Head(NamedTuple):
    """What a JSON file contains.

    Attributes:
        keys: which of the keys that matter occur in it.
        names: the first file names.
    """

    keys: frozenset[str]
    names: list[str]

    @property
    def is_coco(self) -> bool:
        """Whether it lists labelled pictures in the format of COCO."""
        return {"images", "annotations", "categories", "category_id"} <= self.keys and bool(
            self.names
        )

    @property
    def is_megadetector(self) -> bool:
        """Whether it is output of MegaDetector."""
        return {"images", "detections", "detection_categories"} <= self.keys


KEYS = (
    "images",
    "annotations",
    "categories",
    "category_id",
    "detections",
    "detection_categories",
    "splits",
    "location",
    "seq_id",
    "bbox",
)


NULLABLE = ("location", "seq_id", "bbox")
"""Keys that some files have without a value."""


def read_head(file: Path) -> Head | None:
    """Return what a JSON file contains; None for any other file.

    The file is searched for names of keys, which takes about a second for 1 GB.
    """
    try:
        with (
            open_regular(file) as content,
            mmap.mmap(content.fileno(), 0, prot=mmap.PROT_READ) as text,
        ):
            if not text[:START].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
                return None
            keys = frozenset(key for key in KEYS if _has_value(text, key))
            found = [match[1] for match in islice(FILE_NAME.finditer(text), NAMES)]
    except (TailproofError, ValueError, OSError):  # an empty file cannot be mapped
        return None
    names = [json.loads(name) for name in found]
    return Head(keys, names)


def _has_value(text: mmap.mmap, key: str) -> bool:
    """Return whether a key occurs with a value, or at all if it has one wherever it occurs."""
    if key not in NULLABLE:
        return text.find(f'"{key}"'.encode()) >= 0
    return re.search(rb'"%s"\s*:\s*(?!null|\s|\[\s*\])' % key.encode(), text) is not None


def recognize_coco(path: Path) -> Recognition | None:
    """Return the files in the format of COCO in a folder, or that a file belongs to.

    Raises:
        TailproofError: the file is output of MegaDetector, or the pictures are not found.
    """
    folder = path if path.is_dir() else path.parent
    files = [path] if path.is_file() and path.suffix.lower() == ".json" else []
    files += [file for file in files_near(folder, [".json"]) if file not in files]
    heads = {file: head for file in files if (head := read_head(file))}
    if path in heads and heads[path].is_megadetector:
        raise TailproofError(
            f"{path} is output of MegaDetector, which has boxes but no labels: import the folder "
            "of the pictures, sorted into class folders or with a table of labels, and the boxes "
            f"are cut out: {import_command(path.parent)}, or name this file "
            "in data.source.crops.detections"
        )
    wanted = path if path.is_file() else None
    coco = [file for file, head in heads.items() if head.is_coco]
    if not coco or (wanted and wanted not in coco):
        return None
    chosen = choose_split_files(coco, wanted)
    return _recognition(path, chosen, heads)


def _recognition(path: Path, chosen: SplitFiles, heads: dict[Path, Head]) -> Recognition:
    """Return the configuration that reads the chosen files.

    Raises:
        TailproofError: the pictures of a file are not found.
    """
    names = {kind: heads[file].names for kind, file in chosen.sets.items()}
    root, folders, missing = place_sets(path, chosen.sets, names)
    source: dict[str, Any] = {"name": "coco_json", "root": str(root)}
    source |= as_pools(chosen.sets, root, "file", folders)
    keys = frozenset().union(*(heads[file].keys for file in chosen.sets.values()))
    notes: list[str] = []
    verb = "contains" if len(chosen.sets) == 1 else "contain"
    reason = f"{file_names(chosen.sets.values())} {verb} images, annotations and categories"
    if "location" in keys and "seq_id" not in keys:
        source["group"] = "location"
    if "bbox" in keys and not keys & {"location", "seq_id"}:
        source["crops"] = {}
        reason += " with boxes, each of which is a sample"
    elif "bbox" in keys:
        notes.append("boxes are not cut out; `crops: {}` in data.source makes each box a sample")
    if categories := _categories(heads, root):
        source["categories"] = categories
        reason += f"; {categories} has the names of the categories"
    if splits := _place_splits(heads, root) if "" in chosen.sets and "location" in keys else None:
        source["splits"] = splits
        reason += f"; {splits} has the splits by place"
    recognition = recognition_of(source, reason, chosen, missing=missing)
    return replace(recognition, notes=(*recognition.notes, *notes))


def _categories(heads: dict[Path, Head], root: Path) -> str | None:
    """Return the file with the names of categories, which iNaturalist 2018 published later."""
    for file in files_near(root, [".json"]):
        if file not in heads and "categor" in file.stem.lower():
            with suppress(TailproofError):
                if read_categories(file):
                    return file.absolute().relative_to(root.absolute()).as_posix()
    return None


def _place_splits(heads: dict[Path, Head], root: Path) -> str | None:
    """Return the file with the splits of a camera-trap collection."""
    for file, head in heads.items():
        if "splits" in head.keys and not head.is_coco:
            with suppress(TailproofError):
                read_place_splits(file)
                return file.absolute().relative_to(root.absolute()).as_posix()
    return None
