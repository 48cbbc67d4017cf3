"""Finds near duplicates: pictures that differ by compression, size, crop, mirror or brightness.

Each picture is compared by its thumbnail, `SIDE`×`SIDE` grey values without their mean.

1. **Hash.** The signs of the 64 lowest frequencies of the thumbnail's cosine transform (pHash, Zauner
   2010, section 3.2.1). The hash of a crop window is the sign of one matrix product with the
   thumbnail, so windows need no pixels; the hash of the mirrored picture has the signs of all odd
   horizontal frequencies reversed.
2. **Candidates.** Pictures whose hashes agree on all of `KEY_BITS` bits, in one of `TABLES` random
   choices of bits (locality-sensitive hashing, Indyk and Motwani 1998), and differ in at most
   `MAX_DISTANCE` bits. A window of one picture is compared with the whole of the other.
3. **Decision.** The correlation of the two thumbnails, after the crop and the mirroring, reaches a
   threshold. It is stricter in a collection of look-alikes, see `threshold_for`.

Time and memory grow linearly with the number of pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from tailproof.data.grey_thumbnail import FLAT_VALUE, SIDE

FREQUENCIES = 64
SCALES = (0.95, 0.9)
"""Sides of the crop windows, as shares of the picture's."""

TABLES = 16
KEY_BITS = 20
MAX_DISTANCE = 9
BUCKET = 64
"""Pictures of one bucket that a picture is compared with. All of a larger bucket are compared with
the same ones, so that a burst of any length stays connected."""

MIN_CORRELATION = 0.93
LOOK_ALIKE_SHARE = 0.25
_CHUNK = 32768
_SAMPLE, _OTHERS = 1000, 20_000


@dataclass(frozen=True)
class Pairs:
    """P pairs of near duplicates, sorted by `first`, then `second`.

    Attributes:
        first: index of one picture, int64 [P].
        second: index of the other, int64 [P]; larger than `first`.
        correlation: of their thumbnails, float32 [P].
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


@dataclass(frozen=True)
class Window:
    """A crop window, in shares of the picture's sides: one side and the upper left corner."""

    scale: float
    top: float
    left: float

    @property
    def operators(self) -> tuple[np.ndarray, np.ndarray]:
        """The matrices [SIDE, SIDE] that enlarge the window, from the left and from the right."""
        return _enlarge(self.scale, self.top), _enlarge(self.scale, self.left).T

    def hash_matrix(self) -> np.ndarray:
        """Return the matrix [FREQUENCIES, SIDE²] whose product with a thumbnail has the hash."""
        rows, columns = self.operators
        vertical, horizontal = _cosines() @ rows, _cosines() @ columns.T
        pairs = _frequencies()
        return np.stack([np.outer(vertical[v], horizontal[h]).ravel() for v, h in pairs])


def find_near_duplicates(thumbnails: np.ndarray) -> Pairs:
    """Return all pairs of near duplicates among N thumbnails.

    Args:
        thumbnails: uint8 [N, SIDE, SIDE], from `tailproof.data.grey_thumbnail`.
    """
    usable = np.flatnonzero((thumbnails != FLAT_VALUE).any(axis=(1, 2)))
    shown = thumbnails[usable]
    candidates = _distinct(_candidates(shown))
    correlation = _correlations(shown, candidates)
    kept = correlation >= threshold_for(shown)
    return _pairs(candidates[:, kept], correlation[kept], usable)


def threshold_for(thumbnails: np.ndarray) -> float:
    """Return the correlation from which two pictures of a collection are near duplicates.

    Digits on black look alike without being copies. A copy is `LOOK_ALIKE_SHARE` as far away as
    the nearest other picture of a typical picture, or nearer; distance is 1 − correlation. The
    threshold is never below `MIN_CORRELATION`.

    Args:
        thumbnails: uint8 [N, SIDE, SIDE].
    """
    if len(thumbnails) < 3:
        return MIN_CORRELATION
    order = np.random.default_rng(0).permutation(len(thumbnails))
    others = _normal(thumbnails[order[:_OTHERS]]).reshape(-1, SIDE * SIDE)
    some = others[:_SAMPLE]
    correlation = some @ others.T
    np.fill_diagonal(correlation, -1.0)
    typical = 1.0 - float(np.median(correlation.max(axis=1)))
    return max(MIN_CORRELATION, 1.0 - LOOK_ALIKE_SHARE * typical)


def clusters_of(pairs: Pairs, count: int) -> np.ndarray:
    """Return the cluster of each of `count` pictures, int64: the smallest index connected to it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), bool), (pairs.first, pairs.second)), (count, count))
    _, labels = connected_components(links, directed=False)
    first = np.full(labels.max(initial=-1) + 1, count)
    np.minimum.at(first, labels, np.arange(count))
    return first[labels]


@cache
def windows() -> tuple[Window, ...]:
    """Return the whole picture and all crop windows: nine places per scale."""
    crops = [
        Window(scale, (1 - scale) * top, (1 - scale) * left)
        for scale in SCALES
        for top in (0.0, 0.5, 1.0)
        for left in (0.0, 0.5, 1.0)
    ]
    return (Window(1.0, 0.0, 0.0), *crops)


def _candidates(thumbnails: np.ndarray) -> Iterator[np.ndarray]:
    """Yield candidates, int64 [5, M]: the rows are first, second, window, mirrored, distance."""
    whole = _hashes(thumbnails, windows()[0])
    mirror = _mirror_mask()
    tables = [_Table(whole, mask) for mask in _key_masks()]
    for number, window in enumerate(windows()):
        hashes = _hashes(thumbnails, window) if number else whole
        for mirrored in (0, 1):
            queries = hashes ^ mirror if mirrored else hashes
            for start in range(0, len(queries), _CHUNK):
                some = queries[start : start + _CHUNK]
                found = [table.lookup(some, start) for table in tables]
                pairs = np.unique(np.concatenate(found, axis=1), axis=1)
                first, second = pairs
                distance = np.bitwise_count(queries[first] ^ whole[second])
                near = (distance <= MAX_DISTANCE) & (first != second)
                extra = np.broadcast_to([[number], [mirrored]], (2, int(near.sum())))
                yield np.concatenate([pairs[:, near], extra, distance[None, near]]).astype(np.int64)


class _Table:
    """Hashes by the value of some of their bits."""

    def __init__(self, hashes: np.ndarray, bits: np.ndarray) -> None:
        self._hashes, self._bits = hashes, bits
        keys = self._keys(hashes)
        self._order = np.argsort(keys, kind="stable").astype(np.int32)
        self._counts = np.bincount(keys, minlength=1 << KEY_BITS).astype(np.int32)
        self._starts = (np.cumsum(self._counts) - self._counts).astype(np.int32)

    def lookup(self, queries: np.ndarray, start: int) -> np.ndarray:
        """Return int64 [2, M]: queries, numbered from `start`, and hashes of their buckets."""
        keys = self._keys(queries)
        counts = np.minimum(self._counts[keys], BUCKET)
        hit = np.flatnonzero(counts)
        counts = counts[hit]
        query = np.repeat(hit, counts)
        ends = np.cumsum(counts)
        within = np.arange(len(query)) - np.repeat(ends - counts, counts)
        other = self._order[np.repeat(self._starts[keys[hit]], counts) + within]
        near = np.bitwise_count(queries[query] ^ self._hashes[other]) <= MAX_DISTANCE
        near &= query + start != other
        return np.stack([query[near] + start, other[near].astype(np.int64)])

    def _keys(self, hashes: np.ndarray) -> np.ndarray:
        keys = np.zeros(len(hashes), np.int64)
        for place, bit in enumerate(self._bits):
            keys |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int64) << place
        return keys


def _hashes(thumbnails: np.ndarray, window: Window) -> np.ndarray:
    """Return the hash of a window of each thumbnail, uint64 [N]."""
    matrix = window.hash_matrix().T.astype(np.float32)
    hashes = np.empty(len(thumbnails), np.uint64)
    for start in range(0, len(thumbnails), _CHUNK):
        values = thumbnails[start : start + _CHUNK].reshape(-1, SIDE * SIDE).astype(np.float32)
        values -= values.mean(axis=1, keepdims=True)
        bits = np.packbits(values @ matrix > 0, axis=1, bitorder="little")
        hashes[start : start + _CHUNK] = bits.view("<u8")[:, 0]
    return hashes


def _distinct(candidates: Iterator[np.ndarray]) -> np.ndarray:
    """Return each pair of pictures once, with the window of the smallest distance, [4, P]."""
    all_rows = np.concatenate(list(candidates), axis=1)
    low, high = np.minimum(all_rows[0], all_rows[1]), np.maximum(all_rows[0], all_rows[1])
    order = np.lexsort((all_rows[2], all_rows[4], high, low))
    low, high = low[order], high[order]
    new = np.ones(len(order), bool)
    new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return all_rows[:4, order[new]]


def _correlations(thumbnails: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the correlation of the first picture's window with the second picture, float32 [P]."""
    first, second, number, mirrored = candidates
    correlation = np.zeros(len(first), np.float32)
    for place, window in enumerate(windows()):
        rows, columns = window.operators
        members = np.flatnonzero(number == place)
        for start in range(0, len(members), _CHUNK):
            some = members[start : start + _CHUNK]
            shown = _normal(rows @ thumbnails[first[some]].astype(np.float32) @ columns)
            other = _normal(thumbnails[second[some]])
            flipped = mirrored[some].astype(bool)
            other[flipped] = other[flipped, :, ::-1]
            correlation[some] = (shown * other).sum(axis=(1, 2))
    return correlation


def _pairs(candidates: np.ndarray, correlation: np.ndarray, usable: np.ndarray) -> Pairs:
    one, other = usable[candidates[0]], usable[candidates[1]]
    first, second = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((second, first))
    scales = np.array([window.scale for window in windows()])
    return Pairs(
        first[order],
        second[order],
        correlation[order],
        candidates[3][order].astype(bool),
        scales[candidates[2][order]],
    )


def _normal(thumbnails: np.ndarray) -> np.ndarray:
    """Return thumbnails with mean 0 and norm 1, float32 [N, SIDE, SIDE]."""
    values = thumbnails.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    return values / np.sqrt((values**2).sum(axis=(1, 2), keepdims=True)).clip(1e-6)


@cache
def _frequencies() -> tuple[tuple[int, int], ...]:
    """Return the lowest (vertical, horizontal) frequencies without the mean."""
    ordered = sorted((v + h, v, h) for v in range(SIDE) for h in range(SIDE) if v + h)
    return tuple((v, h) for _, v, h in ordered[:FREQUENCIES])


@cache
def _cosines() -> np.ndarray:
    """Return the basis of the cosine transform, [SIDE frequencies, SIDE places]."""
    places = (np.arange(SIDE) + 0.5) / SIDE
    return np.cos(np.pi * np.arange(SIDE)[:, None] * places)


def _enlarge(scale: float, start: float) -> np.ndarray:
    """Return the matrix [SIDE, SIDE] that averages the part of each pixel of a window."""
    edges = (start + scale * np.arange(SIDE + 1) / SIDE) * SIDE
    low, high = edges[:-1, None], edges[1:, None]
    place = np.arange(SIDE)
    overlap = np.clip(np.minimum(high, place + 1) - np.maximum(low, place), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


def _mirror_mask() -> np.uint64:
    odd = [h % 2 for _, h in _frequencies()]
    return np.uint64(sum(bit << place for place, bit in enumerate(odd)))


def _key_masks() -> list[np.ndarray]:
    """Return the bits of each table's key; the lowest frequencies, which are most stable, first."""
    rng = np.random.default_rng(0)
    return [rng.choice(FREQUENCIES, KEY_BITS, replace=False) for _ in range(TABLES)]
