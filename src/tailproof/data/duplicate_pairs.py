"""Pairs of near duplicates: their file, their clusters, and the groups that they make."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tailproof.data.tables import read_parquet, table_metadata, with_metadata, write_parquet


@dataclass(frozen=True)
class Pairs:
    """P pairs of near duplicates, sorted by `first`, then `second`.

    Attributes:
        first: index of one picture, int64 [P].
        second: index of the other, int64 [P]; larger than `first`.
        correlation: of their spectra, float32 [P].
        mirrored: whether one is the mirror image of the other, boolean [P].
        scale: side of the crop window that shows the other, as a share; 1 without a crop [P].
    """

    first: np.ndarray
    second: np.ndarray
    correlation: np.ndarray
    mirrored: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def where(self, mask: np.ndarray) -> "Pairs":
        """Return the pairs that a mask selects."""
        return Pairs(*(getattr(self, field.name)[mask] for field in fields(self)))


def write_pairs(
    path: str | Path, pairs: Pairs, sample_ids: pa.Array, facts: dict[str, Any]
) -> None:
    """Write pairs with the ids of their samples.

    Args:
        path: the file.
        pairs: pairs of rows of `sample_ids`.
        sample_ids: ids of the samples.
        facts: stored as metadata.
    """
    table = pa.table(
        {
            "first": sample_ids.take(pa.array(pairs.first)),
            "second": sample_ids.take(pa.array(pairs.second)),
            "correlation": pa.array(pairs.correlation, pa.float32()),
            "mirrored": pa.array(pairs.mirrored, pa.bool_()),
            "scale": pa.array(pairs.scale, pa.float32()),
        }
    )
    write_parquet(path, with_metadata(table, facts))


def read_pairs(path: str | Path, sample_ids: pa.Array) -> tuple[Pairs, dict[str, Any]]:
    """Read the pairs of the listed samples, numbered in their order, and the facts.

    Pairs with another sample are left out.

    Args:
        path: the file.
        sample_ids: ids of samples, or something that Arrow makes an array of.

    Raises:
        TailproofError: the file is missing or damaged.
    """
    table = read_parquet(path, ["first", "second", "correlation", "mirrored", "scale"])
    known = pa.array(sample_ids, pa.string())
    first, second = (
        pc.fill_null(pc.index_in(table[name], known), -1).to_numpy() for name in ("first", "second")
    )
    columns = [table[name].to_numpy() for name in ("correlation", "mirrored", "scale")]
    pairs = Pairs(np.minimum(first, second), np.maximum(first, second), *columns)
    return pairs.where(pairs.first >= 0), table_metadata(path)


def clusters_of(pairs: Pairs, count: int) -> np.ndarray:
    """Return the cluster of each of `count` pictures, int64: the smallest index connected to it."""
    return _connected(pairs.first, pairs.second, count)


def merge_groups(groups: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Return the groups of samples, with groups that share near duplicates made one.

    A merged group has the first of the names in alphabetical order.

    Args:
        groups: the name of each sample's group.
        pairs: pairs of rows of `groups`.
    """
    names, codes = np.unique(groups, return_inverse=True)
    merged = _connected(codes[pairs.first], codes[pairs.second], len(names))
    return names[merged[codes]]


def _connected(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Return the smallest number that each of `count` numbers is connected to.

    Every number points to a smaller one. In each round the ends of the pointers are linked.
    """
    smallest = np.arange(count)
    while (smallest[first] != smallest[second]).any():
        ends = np.sort([smallest[first], smallest[second]], axis=0)
        np.minimum.at(smallest, ends[1], ends[0])
        while (smallest != smallest[smallest]).any():
            smallest = smallest[smallest]
    return smallest
