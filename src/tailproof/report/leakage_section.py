"""The section on near duplicates: how many, in which splits and classes, and some of them."""

from typing import Any, NamedTuple

from tailproof.config.splits import SPLITS
from tailproof.number_format import MISSING
from tailproof.report.keyed_number import KeyedNumber
from tailproof.report.tables import Cell, Row, Table
from tailproof.text import quantity


class Section(NamedTuple):
    """The content of the section.

    Attributes:
        words: how many images were compared, and how many near duplicates they have.
        note: what that means for the results; empty if test and train share none.
        splits: samples with a near duplicate in another split; None without near duplicates.
        classes: pairs of different classes; no row if there are none.
        cross_class: how many pairs have different classes, in words.
        examples: some clusters, as leakage.json has them.
    """

    words: str
    note: str
    splits: Table | None
    classes: Table
    cross_class: str
    examples: list[dict[str, Any]]


def section(leakage: dict[str, Any], test_samples: int) -> Section:
    """Return the section.

    Args:
        leakage: leakage.json.
        test_samples: number of samples in test.
    """
    differing = leakage["cross_class_pairs"]
    return Section(
        _words(leakage),
        _note(leakage, test_samples),
        _splits(leakage) if leakage["clusters"] else None,
        _classes(leakage),
        f"{quantity(differing, 'pair')} of near duplicates {'has' if differing == 1 else 'have'} "
        "different classes. Check the labels: cross_class_pairs.csv lists the pairs, the most "
        "alike first.",
        leakage["examples"],
    )


def _words(leakage: dict[str, Any]) -> str:
    sentences = [f"{quantity(leakage['pictures'], 'image')} were compared with each other."]
    if leakage["clusters"]:
        largest = quantity(leakage["largest_cluster"], "image")
        sentences.append(
            f"{leakage['in_clusters']:,} of them are near duplicates, in "
            f"{quantity(leakage['clusters'], 'cluster')}, the largest of {largest}."
        )
    else:
        sentences.append("No two are near duplicates.")
    if leakage["clusters"] and leakage["grouped"]:
        sentences.append("Each cluster is in one split, because data.near_duplicates is group.")
    if flat := leakage["flat"]:
        sentences.append(f"{quantity(flat, 'blank image')} could not be compared.")
    if alike := leakage["look_alikes"]:
        sentences.append(
            f"{quantity(alike, 'image')} look alike in large numbers: of these, only almost "
            "identical ones count."
        )
    return " ".join(sentences)


def _note(leakage: dict[str, Any], test_samples: int) -> str:
    leaked = leakage["copies"]["test"]["train"]
    if not leaked:
        return ""
    return (
        f"{leaked:,} of {quantity(test_samples, 'test sample')} "
        f"{'has' if leaked == 1 else 'have'} a near duplicate in train, so the results on test may "
        "be too good. Set data.near_duplicates to group to keep near duplicates in one split"
    )


def _splits(leakage: dict[str, Any]) -> Table:
    rows = []
    for split in SPLITS:
        counts = [leakage["copies"][split].get(other) for other in SPLITS]
        rows.append(Row(split, "", [_count(count) for count in counts]))
    return Table("Samples with a near duplicate in another split", "samples in", list(SPLITS), rows)


def _classes(leakage: dict[str, Any]) -> Table:
    rows = [
        Row(" / ".join(pair["classes"]), "", [_count(pair["pairs"])])
        for pair in leakage["class_pairs"]
    ]
    return Table("Near duplicates of different classes", "classes", ["pairs"], rows)


def _count(count: int | None) -> Cell:
    return Cell(KeyedNumber(MISSING if count is None else f"{count:,}", count))
