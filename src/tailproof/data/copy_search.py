"""Which pictures of a known collection a picture is a copy of.

Unlike `tailproof.data.near_duplicates`, the answer for one picture depends neither on the other
pictures that are asked about, nor on the other parts of the collection: of each part, the nearest
candidates of every table are compared.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tailproof.data.near_duplicates import threshold_for
from tailproof.data.picture_hashes import (
    BUCKET,
    CHUNK,
    LINKS,
    Table,
    best_windows,
    fine_windows,
    fit,
    hash_of,
    is_usable,
    spectra_of,
    table_keys,
    windows,
)


@dataclass(frozen=True)
class Copies:
    """M pictures that are copies of known ones; of each part at most the most alike one.

    Attributes:
        asked: index of the picture that was asked about, int64 [M], sorted.
        known: index of the known picture, int64 [M].
        correlation: of their spectra, float32 [M].
        mirrored: whether one is the mirror image of the other, boolean [M].
        scale: side of the crop window that shows the other, as a share; 1 without a crop [M].
    """

    asked: np.ndarray
    known: np.ndarray
    correlation: np.ndarray
    mirrored: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.asked)


class KnownPictures:
    """A collection of known pictures.

    Args:
        thumbnails: uint8 [N, SIDE, SIDE], from `tailproof.data.grey_thumbnail`.
        parts: the part of the collection that each belongs to, int [N], not negative.
    """

    def __init__(self, thumbnails: np.ndarray, parts: np.ndarray) -> None:
        self._usable = np.flatnonzero(is_usable(thumbnails))
        self._spectra = spectra_of(thumbnails, self._usable)
        self._parts = parts[self._usable]
        self.threshold = threshold_for(thumbnails)

    @cached_property
    def _hashes(self) -> np.ndarray:
        return np.stack([hash_of(self._spectra, window) for window in windows()])

    def copies(self, thumbnails: np.ndarray) -> Copies:
        """Return which pictures are copies of known ones.

        Args:
            thumbnails: uint8 [Q, SIDE, SIDE].
        """
        usable = np.flatnonzero(is_usable(thumbnails))
        spectra = spectra_of(thumbnails, usable)
        hashes = np.stack([hash_of(spectra, window) for window in windows()])
        count = len(self._usable)
        candidates = self._candidates(hashes)
        candidates[1] += count
        spectra = np.concatenate([self._spectra, spectra])
        hashes = np.concatenate([self._hashes, hashes], axis=1)
        one, other, number, mirrored = best_windows(hashes, candidates)
        correlation, number = fit(spectra, self.threshold, one, other, number, mirrored)
        known, asked = np.minimum(one, other), np.maximum(one, other) - count
        # The most alike one of each part, and of equally alike ones the first.
        order = np.lexsort((known, -correlation, self._parts[known], asked))
        order = order[correlation[order] >= self.threshold]
        kept = order[first_of_each(asked[order], self._parts[known[order]])]
        scales = np.array([window.scale for window in fine_windows()])
        return Copies(
            usable[asked[kept]],
            self._usable[known[kept]],
            correlation[kept],
            mirrored[kept],
            scales[number[kept]],
        )

    def _candidates(self, hashes: np.ndarray) -> np.ndarray:
        """Return pairs of a known picture and one that is asked about, int64 [2, P], each once.

        Args:
            hashes: of the pictures that are asked about, uint64 [windows, Q].
        """
        count, asked = len(self._usable), hashes.shape[1]
        rows = [np.flatnonzero(self._parts == part) for part in np.unique(self._parts)]
        codes = np.empty(0, np.int64)
        for bits in table_keys(count):
            # Windows of the asked ones among whole known ones, and the other way round.
            whole = [Table(self._hashes[0, part], bits) for part in rows]
            in_windows = [
                Table(self._hashes[:, part].ravel(), bits, BUCKET * len(hashes)) for part in rows
            ]
            found = [codes]
            for start in range(0, asked, CHUNK):
                chunk = hashes[:, start : start + CHUNK]
                queries = [(whole, of_window) for of_window in chunk]
                for tables, of_window in [*queries, (in_windows, chunk[0])] if rows else ():
                    keys = tables[0].keys(of_window)
                    for part, table in zip(rows, tables, strict=True):
                        query, entry, distance = table.near(of_window, keys)
                        known = part[entry % len(part)]
                        kept = nearest(query, known, distance)
                        found.append(known[kept] * asked + query[kept] + start)
            codes = np.unique(np.concatenate(found))
        return np.stack(np.divmod(codes, max(asked, 1)))


def first_of_each(*groups: np.ndarray) -> np.ndarray:
    """Return which of N sorted rows are the first of their group, boolean [N].

    Args:
        groups: int [N] each; rows of a group have the same of all.
    """
    group = np.stack(groups)
    first = np.ones(group.shape[1], bool)
    first[1:] = (group[:, 1:] != group[:, :-1]).any(axis=0)
    return first


def nearest(query: np.ndarray, known: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return the positions of the `LINKS` nearest known pictures of each query, each once.

    Args:
        query: the picture that is asked about, int64 [M].
        known: the known picture, int64 [M].
        distance: bits by which their hashes differ [M].
    """
    order = np.lexsort((distance, known, query))
    repeated = np.zeros(len(order), bool)
    repeated[1:] = (query[order][1:] == query[order][:-1]) & (known[order][1:] == known[order][:-1])
    order = order[~repeated]
    order = order[np.lexsort((known[order], distance[order], query[order]))]
    ranked = query[order]
    return order[np.arange(len(order)) - np.searchsorted(ranked, ranked) < LINKS]
