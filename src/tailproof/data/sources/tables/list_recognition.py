"""Recognizes lists with an image and its label in each line."""

from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.advised_commands import import_command, python_command, python_text
from tailproof.data.sources.base import Recognition
from tailproof.data.sources.folders.folder_layout import new_table
from tailproof.data.sources.folders.folder_survey import survey_folder
from tailproof.data.sources.folders.official_lists import describe_official_lists
from tailproof.data.sources.folders.split_files import (
    as_pools,
    choose_split_files,
    file_names,
    files_near,
    place_sets,
    recognition_of,
)
from tailproof.data.sources.folders.split_names import split_kind
from tailproof.data.sources.tables.class_name_file import read_class_names
from tailproof.data.sources.tables.label_list import NUMBER, LabelList
from tailproof.runtime.errors import TailproofError

ENDINGS = (".txt", ".lst", ".list", ".csv", ".tsv")
LARGEST = 2**28  # bytes
NAMES = 20  # pictures that are looked for
RIGHT = 0.95  # share of the lines that have an image and a label
FEW = 20  # lines that may all have labels of their own
UNSET = ("UNASSIGNED", "")
"""What is in the place of a set for an image without one."""
NAMING = ("class", "categor", "label", "name", "synset")
"""Parts of the names of files with names of classes."""


class Head(NamedTuple):
    """What a list contains.

    Attributes:
        names: the names of some images, from all over the list.
        labels: the distinct labels.
    """

    names: list[str]
    labels: set[str]


def recognize_list(path: Path) -> Recognition | None:
    """Return the lists of images and labels in a folder, or that a file belongs to.

    Raises:
        TailproofError: the images of a list are not found.
    """
    wanted = path if path.is_file() and path.suffix.lower() in ENDINGS else None
    if wanted is None and not path.is_dir():
        return None
    files = files_near(path if path.is_dir() else path.parent, (*ENDINGS, ".json"))
    if wanted and _read_head(wanted) is None:
        return None
    heads = {file: head for file in files if (head := _read_head(file))}
    if not heads:
        return None
    chosen = choose_split_files(heads, wanted)
    names = {kind: heads[file].names for kind, file in chosen.sets.items()}
    for kind, file in chosen.sets.items():
        _refuse_sets(file, names[kind])
    root, folders, missing = place_sets(path, chosen.sets, names)
    source: dict[str, Any] = {"name": "image_list", "root": str(root)}
    source |= as_pools(chosen.sets, root, "list", folders)
    reason = f"each line of {file_names(chosen.sets.values())} has an image and a label"
    labels = set().union(*(heads[file].labels for file in chosen.sets.values()))
    if naming := _find_names(files, heads, labels):
        source["names"] = naming.absolute().relative_to(root.absolute()).as_posix()
        reason += f"; {naming.name} has the names of the labels"
    recognition = recognition_of(source, reason, chosen, missing=missing)
    official = None
    if "" in chosen.sets and path.is_dir():
        official = describe_official_lists(path, survey_folder(path))
    doubts = (*recognition.doubts, *([official[1]] if official else []))
    return replace(recognition, doubts=doubts)


def _refuse_sets(file: Path, names: list[str]) -> None:
    """Refuse a list with the set in front of each image, as that of Google AutoML."""
    sets = [name.partition(",")[0] for name in names if "," in name]
    if len(sets) < len(names) or not all(split_kind(each) or each in UNSET for each in sets):
        return
    written = new_table(file.parent)
    code = (
        f"import pandas as p; t = p.read_csv({python_text(file)}, header=None, usecols=[0, 1, 2], "
        'names=["split", "filename", "label"]); t["filename"] = t["filename"].str.replace('
        f'r"^\\w+://[^/]*/", "", regex=True); t.to_csv({python_text(written)}, index=False)'
    )
    raise TailproofError(
        f"{file} has a set, an image and a label in each line, such as '{names[0]}', and no "
        f"header: write it with one, with {python_command(code)}, and import the result: "
        f"{import_command(written)}"
    )


def _read_head(file: Path) -> Head | None:
    """Return what a list contains; None for any other file."""
    try:
        if file.suffix.lower() not in ENDINGS or file.stat().st_size > LARGEST:
            return None
        entries = list(LabelList(file).entries())
    except (TailproofError, OSError):
        return None
    right = [
        entry
        for entry in entries
        if not entry.fault and PurePosixPath(entry.path).suffix.lower() in SUFFIXES
    ]
    labels = {entry.label for entry in right}
    captions = len(right) > FEW and len(labels) > len(right) / 2
    if not right or len(right) < RIGHT * len(entries) or captions:
        return None
    names = [entry.path for entry in islice(right, 0, None, max(len(right) // NAMES, 1))]
    return Head(names, labels)


def _find_names(files: list[Path], heads: dict[Path, Head], labels: set[str]) -> Path | None:
    """Return the file with the names of numbered classes."""
    if not all(map(NUMBER.fullmatch, labels)):
        return None
    for file in files:
        if file not in heads and any(part in file.stem.lower() for part in NAMING):
            with suppress(TailproofError):
                read_class_names(file, sorted(labels))
                return file
    return None
