"""Finds labels in the paths of pictures, and the command that writes a table of them."""

import re
import shlex
from collections import Counter
from pathlib import Path, PurePosixPath

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.sources.folders.folder_layout import new_table
from tailproof.data.sources.folders.split_names import are_splits

MOST = 0.8  # share of the pictures that have a label in their names

LABEL_FIRST = re.compile(r"(.*[^-_. ()0-9])[-_. ()]*[0-9][-_. ()0-9]*")
LABEL_LAST = re.compile(r"[0-9]+[-_. ]+(.*[^-_. ()0-9])")
"""Names of pictures that consist of a label and a number, without the suffix."""

PLACE_AND_LABEL = r"s|^([^/]*)/(.*/)?([^/]*)/[^/]*$|&,\3,\1|p"
LABEL_AND_PLACE = r"s|^([^/]*)/(.*/)?([^/]*)/[^/]*$|&,\1,\3|p"
FIRST_FOLDER = r"s|^([^/]*)/.*$|&,\1|p"
LABEL_FIRST_RULE = r"s|^(.*/)?([^/]*[^-_. ()0-9/])[-_. ()]*[0-9][-_. ()0-9]*\.\w+$|&,\2|p"
LABEL_LAST_RULE = r"s|^(.*/)?[0-9]+[-_. ]+([^/]*[^-_. ()0-9/])\.\w+$|&,\2|p"
"""What sed appends to the path of a picture: its label, and its place."""


def table_command(folder: Path, columns: str, rule: str, without: str = "") -> str:
    """Return the command that writes labels.csv from the paths of pictures.

    Args:
        folder: the folder of the pictures.
        columns: the header of the table.
        rule: what sed appends to each path.
        without: tests of find that leave out other files.
    """
    find = f"find . -type f {without}".strip()
    endings = "|".join(sorted(suffix[1:] for suffix in SUFFIXES))
    return (
        f"cd {shlex.quote(str(folder))} && (echo {columns}; {find} | sort | "
        f"sed -nE 's|^\\./||; /\\.({endings})$/I{{{rule}}}') > {new_table(folder).name}"
    )


def label_names(pictures: list[str]) -> tuple[Counter[str], str] | None:
    """Return the labels in the names of pictures, and the rule of sed that finds them."""
    for pattern, rule in ((LABEL_FIRST, LABEL_FIRST_RULE), (LABEL_LAST, LABEL_LAST_RULE)):
        if labels := _labels_in_names(pictures, pattern):
            return labels, rule
    return None


def _labels_in_names(pictures: list[str], pattern: re.Pattern[str]) -> Counter[str]:
    """Return the labels in names, if there are several and most pictures have one of a few."""
    stems = [PurePosixPath(name).stem for name in pictures]
    labels = Counter(match[1] for stem in stems if (match := pattern.fullmatch(stem)))
    clean = all(re.fullmatch(r"[^,\"]+", name) for name in pictures)
    enough = labels.total() >= MOST * len(pictures) and 2 * len(labels) <= len(pictures)
    usable = len(labels) > 1 and not are_splits(labels)
    return labels if clean and enough and usable else Counter()
