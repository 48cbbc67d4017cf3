"""The tree of classes over the taxonomic ranks, derived from the labels of the samples."""

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from tailproof.data.class_index import class_index

if TYPE_CHECKING:
    import pandas as pd

Ancestors = dict[str, dict[str, list[int | None]]]
"""{rank: {coarser rank: the ancestor of each class, as class index; None if no sample shows it}}"""


def ancestors(
    samples: "pd.DataFrame", ranks: list[str], classes: Mapping[str, list[str]]
) -> Ancestors:
    """Return the ancestors of every class.

    Args:
        samples: a column of class names for each rank, with missing values for missing labels.
        ranks: coarse to fine.
        classes: class names in class order, by rank. No class has two parents, because sources
            refuse such labels.
    """
    tree: Ancestors = {}
    for depth, fine in enumerate(ranks):
        tree[fine] = {}
        for coarse in reversed(
            ranks[:depth]
        ):  # the nearest rank first: it may link to farther ones
            parents = _shown_parents(samples, fine, coarse, classes)
            nearer = [(tree[fine][middle], tree[middle][coarse]) for middle in tree[fine]]
            for middle_parents, above in nearer:
                parents = [
                    above[middle] if parent is None and middle is not None else parent
                    for parent, middle in zip(parents, middle_parents, strict=True)
                ]
            tree[fine][coarse] = parents
    return tree


def _shown_parents(
    samples: "pd.DataFrame", fine: str, coarse: str, classes: Mapping[str, list[str]]
) -> list[int | None]:
    """Return the ancestors that samples with labels at both ranks show."""
    both = samples[[fine, coarse]].dropna().drop_duplicates(fine)
    index = class_index(classes[coarse])
    parents = dict(zip(both[fine], both[coarse].map(index), strict=True))
    return [None if (place := parents.get(name)) is None else int(place) for name in classes[fine]]


def head_columns(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return the range of network outputs of each rank.

    Args:
        sizes: number of classes by rank, in the order of the heads.
    """
    limits = pairwise(accumulate(sizes.values(), initial=0))
    return {rank: slice(*limit) for rank, limit in zip(sizes, limits, strict=True)}
