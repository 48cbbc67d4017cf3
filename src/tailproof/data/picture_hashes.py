"""Hashes and spectra of pictures, by which copies are found and compared.

Pictures are compared by their thumbnails, `SIDE`×`SIDE` grey values without their mean.

1. **Hash.** The signs of the 64 lowest frequencies of the thumbnail's cosine transform (pHash,
   Zauner 2010, section 3.2.1). The hash of a crop window is the sign of one matrix product with the
   spectrum of the thumbnail, so windows need no pixels. Mirroring reverses the signs of the odd
   horizontal frequencies alone.
2. **Candidates.** A window of one picture, and another whole picture, whose hashes agree in all
   bits of one of `TABLES` keys (locality-sensitive hashing, Indyk and Motwani 1998) and differ in
   at most `MAX_DISTANCE` bits. Keys hold even frequencies alone: mirroring does not change them.
3. **Decision.** The correlation of the two spectra reaches a threshold. Frequencies are weighted by
   their length, because the amplitudes of natural pictures fall with it (Field 1987): otherwise all
   pictures with a bright centre would be alike.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from tailproof.data.grey_thumbnail import FLAT_VALUE, SIDE

FREQUENCIES = 64
MAX_FREQUENCY = 12
"""Finer detail does not survive compression, and differs where windows do not fit exactly."""
SCALES = (0.95, 0.9)
FINE_SCALES = (0.975, 0.95, 0.925, 0.9)
"""Sides of the crop windows, as shares of the picture's: those with hashes, and all."""

TABLES = 24
MAX_KEY_BITS = 20
MAX_DISTANCE = 10
BUCKET = 16
"""Pictures of one bucket that a window is compared with, the first ones."""
LINKS = 4
"""Near ones of them that become candidates, the first ones. A burst of any length stays connected
through its first pictures."""

COARSE_MARGIN, FINE_MARGIN = 0.2, 0.08
CHUNK = 16384  # pictures at a time


@dataclass(frozen=True)
class Window:
    """A crop window, in shares of the picture's sides: one side and the upper left corner."""

    scale: float
    top: float
    left: float

    @cached_property
    def hash_matrix(self) -> np.ndarray:
        """The matrix [K, FREQUENCIES] whose product with whole spectra has the hashes."""
        return self._matrix(_hashed())

    @cached_property
    def spectrum_matrix(self) -> np.ndarray:
        """The matrix [K, frequencies] whose product with whole spectra is the weighted spectrum."""
        return self._matrix(_compared()) * np.hypot(*_compared().T).astype(np.float32)

    def _matrix(self, frequencies: np.ndarray) -> np.ndarray:
        """Return the part that each frequency of the picture has in frequencies of the window."""
        vertical = _cosines() @ _enlarge(self.scale, self.top) @ _cosines().T
        horizontal = _cosines() @ _enlarge(self.scale, self.left) @ _cosines().T
        (above, left), (rows, columns) = _kept().T, frequencies.T
        parts = vertical[rows[None], above[:, None]] * horizontal[columns[None], left[:, None]]
        return parts.astype(np.float32)


@cache
def windows() -> tuple[Window, ...]:
    """Return the windows with hashes: the whole picture, and nine places per scale."""
    return (Window(1.0, 0.0, 0.0), *_crops(SCALES, (0.0, 0.5, 1.0)))


@cache
def fine_windows() -> tuple[Window, ...]:
    """Return the windows that are compared: those with hashes, and more in between."""
    crops = _crops(FINE_SCALES, (0.0, 0.25, 0.5, 0.75, 1.0))
    return windows() + tuple(window for window in crops if window not in windows())


def _crops(scales: tuple[float, ...], places: tuple[float, ...]) -> list[Window]:
    return [
        Window(scale, (1 - scale) * top, (1 - scale) * left)
        for scale in scales
        for top in places
        for left in places
    ]


class Table:
    """Hashes by the value of some of their bits.

    Args:
        hashes: uint64 [N].
        bits: the bits, from `table_keys`.
        bucket: how many hashes with the same value are compared, the first ones.
    """

    def __init__(self, hashes: np.ndarray, bits: np.ndarray, bucket: int = BUCKET) -> None:
        self._hashes = hashes
        self._places = _key_places(bits)
        keys = self.keys(hashes)
        self._order = np.argsort(keys, kind="stable").astype(np.int32)
        self._counts = np.bincount(keys, minlength=1 << len(bits)).astype(np.int32)
        self._starts = (np.cumsum(self._counts) - self._counts).astype(np.int32)
        np.minimum(self._counts, bucket, out=self._counts)

    def lookup(self, queries: np.ndarray, start: int) -> np.ndarray:
        """Return int64 [2, M]: queries, numbered from `start`, and other similar pictures."""
        query, other, _ = self.near(queries, self.keys(queries))
        different = query + start != other
        query, other = query[different], other[different]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        linked = rank < LINKS
        return np.stack([query[linked] + start, other[linked].astype(np.int64)])

    def near(self, queries: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return queries, the hashes of their buckets that are similar, and their distances.

        Args:
            queries: hashes, uint64 [Q].
            keys: their keys, from `keys`.
        """
        counts = self._counts[keys]
        hit = np.flatnonzero(counts)
        counts = counts[hit]
        query = np.repeat(hit, counts)
        ends = np.cumsum(counts)
        first = self._starts[keys[hit]] - (ends - counts)
        other = self._order[np.repeat(first, counts) + np.arange(len(query))]
        distance = distances(queries[query], self._hashes[other]).min(axis=0)
        near = distance <= MAX_DISTANCE
        return query[near], other[near], distance[near]

    def keys(self, hashes: np.ndarray) -> np.ndarray:
        """Return the key of each hash, int32 [N]."""
        parts = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)
        keys = np.zeros(len(hashes), np.int32)
        for number, values in self._places:
            keys |= values[parts[:, number]]
        return keys


def distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how many bits differ in each pair of hashes, plain and with one mirrored, [2, P]."""
    differing = some ^ others
    even = np.bitwise_count(differing & _even_mask())
    odd = np.bitwise_count(differing) - even
    odd_bits = FREQUENCIES - int(_even_mask()).bit_count()
    return np.stack([even + odd, even + (np.uint8(odd_bits) - odd)])


def best_windows(hashes: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, ...]:
    """Find how two pictures fit best.

    Args:
        hashes: uint64 [windows, N].
        candidates: pairs of pictures, int64 [2, P].

    Returns:
        The picture with the crop window, the other, the number of the window, and whether one is
        mirrored; the windows of a larger distance than `MAX_DISTANCE` are left out.
    """
    whole = hashes[0]
    best = np.full(candidates.shape[1], FREQUENCIES + 1, np.uint8)
    variant = np.zeros(candidates.shape[1], np.int32)
    for number, of_window in enumerate(hashes):
        for turned, (one, other) in enumerate((candidates, candidates[::-1])):
            compared = distances(of_window[one], whole[other])
            for mirrored, distance in enumerate(compared):
                better = distance < best
                best[better] = distance[better]
                variant[better] = 4 * number + 2 * turned + mirrored
    kept = best <= MAX_DISTANCE
    candidates, variant = candidates[:, kept], variant[kept]
    is_turned = (variant & 2).astype(bool)
    first = np.where(is_turned, candidates[1], candidates[0])
    second = np.where(is_turned, candidates[0], candidates[1])
    return first, second, variant // 4, (variant & 1).astype(bool)


def fit(
    spectra: np.ndarray,
    threshold: float,
    first: np.ndarray,
    second: np.ndarray,
    number: np.ndarray,
    mirrored: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation of each pair, float32 [P], and the number of the window that fits.

    The window of the smallest distance is a guess. Pairs that are not far from the threshold are
    compared in the others, too, until one reaches it.
    """
    correlation = np.empty(len(first), np.float32)
    number = number.copy()
    windows_of_stage = range(len(windows())), range(len(windows()), len(fine_windows()))
    for start in range(0, len(first), CHUNK):
        chunk = slice(start, start + CHUNK)
        shown = spectra[first[chunk]].astype(np.float32)
        other = compared_whole(spectra[second[chunk]], mirrored[chunk])
        best, fits = correlation[chunk], number[chunk]
        for place in np.unique(fits):
            some = np.flatnonzero(fits == place)
            best[some] = correlation_of(shown[some], place, other[some])
        for others, margin in zip(windows_of_stage, (COARSE_MARGIN, FINE_MARGIN), strict=True):
            near = np.flatnonzero((best >= threshold - margin) & (best < threshold))
            pictures, copies = shown[near], other[near]
            for place in others:
                compared = correlation_of(pictures, place, copies)
                better = compared > best[near]
                best[near[better]] = compared[better]
                fits[near[better]] = place
    return correlation, number


def correlation_of(spectra: np.ndarray, number: int, others: np.ndarray) -> np.ndarray:
    """Return the correlation of a window of pictures with other pictures, float32 [P].

    Args:
        spectra: low frequencies of the pictures [P, K].
        number: the window.
        others: weighted spectra of the other pictures [P, frequencies].
    """
    return np.einsum("pf,pf->p", weighted_spectra(spectra, fine_windows()[number]), others)


def compared_whole(spectra: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Return the weighted spectra of whole pictures, some of them mirrored."""
    weighted = weighted_spectra(spectra, windows()[0])
    weighted[np.ix_(mirrored, _compared()[:, 1] % 2 == 1)] *= -1
    return weighted


def spectra_of(thumbnails: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return the low frequencies of the usable thumbnails, float16 [N, K]."""
    basis = _cosines()
    rows, columns = _kept().T
    matrix = (basis[rows, :, None] * basis[columns, None, :]).reshape(len(rows), -1).T
    spectra = np.empty((len(usable), len(rows)), np.float16)
    for start in range(0, len(usable), CHUNK):
        values = thumbnails[usable[start : start + CHUNK]].reshape(-1, SIDE * SIDE)
        values = values.astype(np.float32) - FLAT_VALUE
        spectra[start : start + CHUNK] = values @ matrix.astype(np.float32)
    return spectra


def weighted_spectra(spectra: np.ndarray, window: Window) -> np.ndarray:
    """Return the weighted spectra of a window, of length 1, float32 [N, frequencies]."""
    weighted = spectra.astype(np.float32) @ window.spectrum_matrix
    return weighted / np.linalg.norm(weighted, axis=1, keepdims=True).clip(1e-6)


def hash_of(spectra: np.ndarray, window: Window) -> np.ndarray:
    """Return the hash of a window of each picture, uint64 [N]."""
    hashes = np.empty(len(spectra), np.uint64)
    for start in range(0, len(spectra), CHUNK):
        positive = spectra[start : start + CHUNK].astype(np.float32) @ window.hash_matrix > 0
        bits = np.packbits(positive, axis=1, bitorder="little")
        hashes[start : start + CHUNK] = bits.view("<u8")[:, 0]
    return hashes


def is_usable(thumbnails: np.ndarray) -> np.ndarray:
    """Return whether each thumbnail is not flat."""
    return thumbnails.max(axis=(1, 2)) != thumbnails.min(axis=(1, 2))


@cache
def _hashed() -> np.ndarray:
    """Return the lowest (vertical, horizontal) frequencies, the even horizontal ones first."""
    ordered = sorted((v + h, v, h) for v in range(SIDE) for h in range(SIDE) if v + h)
    return np.array(sorted([(v, h) for _, v, h in ordered[:FREQUENCIES]], key=lambda f: f[1] % 2))


@cache
def _compared() -> np.ndarray:
    """Return the (vertical, horizontal) frequencies that are compared, [frequencies, 2]."""
    return _up_to(MAX_FREQUENCY)


@cache
def _kept() -> np.ndarray:
    """Return the (vertical, horizontal) frequencies that windows are made of, [K, 2]."""
    return _up_to(MAX_FREQUENCY / min(SCALES) + 1)


def _up_to(length: float) -> np.ndarray:
    pairs = [(v, h) for v in range(SIDE) for h in range(SIDE)]
    return np.array([pair for pair in pairs if 0 < np.hypot(*pair) <= length])


@cache
def _even_mask() -> np.uint64:
    return np.uint64((1 << int((_hashed()[:, 1] % 2 == 0).sum())) - 1)


@cache
def _cosines() -> np.ndarray:
    """Return the basis of the cosine transform, orthonormal, [SIDE frequencies, SIDE places]."""
    places = (np.arange(SIDE) + 0.5) / SIDE
    cosines = np.cos(np.pi * np.arange(SIDE)[:, None] * places)
    return cosines / np.linalg.norm(cosines, axis=1, keepdims=True)


def _enlarge(scale: float, start: float) -> np.ndarray:
    """Return the matrix [SIDE, SIDE] that averages the part of each pixel of a window."""
    edges = (start + scale * np.arange(SIDE + 1) / SIDE) * SIDE
    low, high = edges[:-1, None], edges[1:, None]
    place = np.arange(SIDE)
    overlap = np.clip(np.minimum(high, place + 1) - np.maximum(low, place), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


def table_keys(count: int) -> list[np.ndarray]:
    """Return the bits of each table's key: enough that few pictures share a bucket by chance."""
    even_bits = int(_even_mask()).bit_count()
    size = min(max(count.bit_length() + 1, 8), MAX_KEY_BITS)
    rng = np.random.default_rng(0)
    return [rng.choice(even_bits, size, replace=False) for _ in range(TABLES)]


def _key_places(bits: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return, for each byte of a hash with bits of the key, the part of the key by its value."""
    values = np.arange(256, dtype=np.int32)
    places = []
    for number in np.unique(bits // 8):
        part = np.zeros(256, np.int32)
        for place in np.flatnonzero(bits // 8 == number):
            part |= ((values >> (bits[place] % 8)) & 1) << place
        places.append((int(number), part.astype(np.int32)))
    return places
