"""Corrects what only the whole collection shows to be wrong in the section of a source."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

from tailproof.config.splits import HELD_OUT, TRAIN, VAL
from tailproof.data.sources.base import Recognition
from tailproof.data.splits import drop_shared_groups
from tailproof.importer.collection import Collection
from tailproof.text import quantity

SIDED = re.compile(r"(.+?)[ _.-]*(left|right|[lr](cc|mlo)?|o[ds])", re.IGNORECASE)
"""Names of pictures of the left or right eye, ear or breast of a subject."""

BARE = ("image_folder", "image_list")
"""Sources that cannot name the subject of a picture."""

VERSION = re.compile(r"(.+)\.rf\.[\w-]{16,}")
"""Names of pictures by Roboflow, which writes several altered versions of a picture."""

MANY = 0.5  # share of the images from which on something is no accident


def revise_source(recognition: Recognition, collection: Collection) -> Recognition | None:
    """Return a recognition with a corrected section of the source; None if nothing is wrong.

    Args:
        recognition: what was read.
        collection: what was found.
    """
    source, table = recognition.source, collection.table
    if not collection.pools:
        return None
    labelled = set(table.loc[table[collection.target].notna(), "pool"])
    if "split" in source and not {TRAIN, HELD_OUT} <= labelled:
        note = (
            f"the column '{source['split']}' is not used, because no image of train, or none of "
            "test, has a label: a test set is drawn instead"
        )
        kept = {key: value for key, value in source.items() if key != "split"}
        return replace(recognition, source=kept, doubts=(*recognition.doubts, note))
    if source.get("test") and source.get("val") and labelled == {TRAIN, VAL}:
        note = (
            f"'{source['test']}' is not used, because no image of it has a label: '{source['val']}'"
            " serves as the test set"
        )
        kept = {key: value for key, value in source.items() if key != "val"}
        kept["test"] = source["val"]
        return replace(recognition, source=kept, doubts=(*recognition.doubts, note))
    _, shared = drop_shared_groups(table)
    dropped = shared["shared_groups_dropped"]
    if (
        source["name"] in ("metadata_csv", "parquet")
        and dropped >= MANY * collection.pools["train"]
    ):
        note = (
            f"{dropped:,} of the {quantity(collection.pools['train'], 'training image')} have the "
            "group number of another set, but each set seems to number its groups from the start, "
            "so they count as different groups"
        )
        changed = {**source, "group_per_pool": True}
        return replace(recognition, source=changed, doubts=(*recognition.doubts, note))
    return None


def without_groups(recognition: Recognition, collection: Collection) -> Recognition | None:
    """Return a recognition that reads no groups, for groups that are too few for six splits.

    Args:
        recognition: what was read.
        collection: what was found.

    Returns:
        None if the source names no groups.
    """
    source = recognition.source
    group = source.get("group")
    if not group:
        return None
    changed = {key: value for key, value in source.items() if key != "group"}
    if source["name"] == "metadata_csv":
        changed["group"] = None
    count = quantity(collection.table["group"].nunique(), "group")
    doubt = (
        f"{count} by '{group}': too few for six splits, so images of one group are in several "
        "splits, and results on new groups may be worse; with more groups, set 'group' again"
    )
    doubts = (*recognition.doubts, doubt)
    return replace(recognition, source=changed, doubts=doubts, group_notes=())


def doubt_sides(recognition: Recognition, collection: Collection) -> Recognition:
    """Return the recognition with a doubt if pictures are pairs of left and right without groups.

    Args:
        recognition: what was read.
        collection: what was found.
    """
    paths = collection.table["path"]
    if collection.groups or "group_per_pool" in recognition.source:
        return recognition
    matches = [SIDED.fullmatch(PurePosixPath(path).stem) for path in paths]
    subjects = Counter(match[1] for match in matches if match)
    paired = sum(count for count in subjects.values() if count > 1)
    if paired < MANY * len(paths):
        return recognition
    example = next(path for path, match in zip(paths, matches, strict=True) if match)
    doubt = (
        f"the names of {quantity(paired, 'picture')} are pairs of left and right, such as "
        f"'{PurePosixPath(example).name}': the sides of one subject may be in two splits, because "
        f"nothing names the subject; {_advise_groups(recognition.source['name'])}"
    )
    return replace(recognition, doubts=(*recognition.doubts, doubt))


def _advise_groups(source: str) -> str:
    """Return how a source learns which pictures are of one subject."""
    if source in BARE:
        return "import a table (CSV) with the columns filename, label and subject instead"
    return "add a column of the subject to the table and name it in 'group'"


def doubt_versions(recognition: Recognition, collection: Collection) -> Recognition:
    """Return the recognition with a doubt if pictures are altered versions of one without groups.

    Args:
        recognition: what was read.
        collection: what was found.
    """
    if collection.groups:
        return recognition
    paths = [str(PurePosixPath(path).with_suffix("")) for path in collection.table["path"]]
    matches = list(map(VERSION.fullmatch, paths))
    originals = Counter(match[1] for match in matches if match)
    several = {name: count for name, count in originals.items() if count > 1}
    if not several:
        return recognition
    doubt = (
        f"{quantity(sum(several.values()), 'picture')} are versions of "
        f"{quantity(len(several), 'picture')} by Roboflow, such as '{next(iter(several))}': "
        "versions of one picture may be in two splits; export the dataset without augmentation, or "
        "list files, labels and the names before '.rf.' as groups in a table"
    )
    return replace(recognition, doubts=(*recognition.doubts, doubt))
