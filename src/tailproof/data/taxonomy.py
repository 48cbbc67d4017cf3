"""The tree of classes over the taxonomic ranks, as the samples' labels tell it."""

from collections.abc import Mapping
from itertools import accumulate, pairwise

import pandas as pd

Ancestors = dict[str, dict[str, list[int | None]]]
"""{rank: {coarser rank: class index there of each class's ancestor; None where no sample tells}}"""


def ancestors(
    samples: pd.DataFrame, ranks: list[str], classes: Mapping[str, list[str]]
) -> Ancestors:
    """Return the ancestors of every class.

    Args:
        samples: a column of class names for each rank; missing where a sample has no label.
        ranks: coarse to fine.
        classes: class names in class order, by rank. No class has two parents: sources refuse such
            labels.
    """
    found: Ancestors = {}
    for depth, fine in enumerate(ranks):
        found[fine] = {}
        for coarse in reversed(ranks[:depth]):  # the nearest first: it may know the farther ones
            told = _told(samples, fine, coarse, classes)
            nearer = [(found[fine][middle], found[middle][coarse]) for middle in found[fine]]
            for parents, above in nearer:
                told = [
                    above[parent] if own is None and parent is not None else own
                    for own, parent in zip(told, parents, strict=True)
                ]
            found[fine][coarse] = told
    return found


def _told(
    samples: pd.DataFrame, fine: str, coarse: str, classes: Mapping[str, list[str]]
) -> list[int | None]:
    """Return the ancestors that samples with labels at both ranks tell."""
    both = samples[[fine, coarse]].dropna().drop_duplicates(fine)
    index = {name: position for position, name in enumerate(classes[coarse])}
    known = dict(zip(both[fine], both[coarse].map(index), strict=True))
    return [None if (place := known.get(name)) is None else int(place) for name in classes[fine]]


def head_columns(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return which of the outputs are each rank's.

    Args:
        sizes: classes by rank, in the order of the heads.
    """
    limits = pairwise(accumulate(sizes.values(), initial=0))
    return {rank: slice(*own) for rank, own in zip(sizes, limits, strict=True)}
