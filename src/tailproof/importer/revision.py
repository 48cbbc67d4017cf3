"""Corrects what only the whole collection shows to be wrong in the section of a source."""

from dataclasses import replace

from tailproof.config.splits import HELD_OUT, TRAIN
from tailproof.data.sources.base import Recognition
from tailproof.data.splits import drop_shared_groups
from tailproof.importer.collection import Collection
from tailproof.text import quantity

MANY = 0.5  # share of the training set whose groups are in another set as well


def revise_source(recognition: Recognition, collection: Collection) -> Recognition | None:
    """Return a recognition with another section of the source; None if it may stay as it is.

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
    _, shared = drop_shared_groups(table)
    dropped = shared["shared_groups_dropped"]
    if source["name"] == "metadata_csv" and dropped >= MANY * collection.pools["train"]:
        note = (
            f"{quantity(dropped, 'image')} of train have the number of a group of another set: "
            "each set seems to number its groups from the start, so that they are different groups"
        )
        changed = {**source, "group_per_pool": True}
        return replace(recognition, source=changed, doubts=(*recognition.doubts, note))
    return None
