"""The outputs of a model: one head a taxonomic rank, side by side."""

from collections.abc import Mapping
from itertools import accumulate, pairwise


def head_columns(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return which of the outputs are each rank's.

    Args:
        sizes: classes by rank, in the order of the heads.
    """
    limits = pairwise(accumulate(sizes.values(), initial=0))
    return {rank: slice(*own) for rank, own in zip(sizes, limits, strict=True)}
