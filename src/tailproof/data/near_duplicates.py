"""The stage near_duplicates: pictures that differ by compression, size, crop, mirror or brightness.

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
   pictures with a bright centre would be alike. The threshold is higher in a collection of
   look-alikes, see `threshold_for`, and in large clusters, see `without_chains`.

Time and memory grow linearly with the number of pictures, however many are alike.
"""

import logging
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from tailproof.data.duplicate_pairs import Pairs, clusters_of, write_pairs
from tailproof.data.grey_thumbnail import FLAT_VALUE, SIDE, read_thumbnails
from tailproof.runtime.progress import track
from tailproof.text import quantity

log = logging.getLogger(__name__)

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

MIN_CORRELATION = 0.89
COARSE_MARGIN, FINE_MARGIN = 0.2, 0.08
LOOK_ALIKE_SHARE = 0.2
LARGE_CLUSTER = 20
SAME_PICTURE = 0.98
_CHUNK = 16384
_SAMPLE = 1000


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


def list_near_duplicates(thumbnails_path: str | Path, output: str | Path) -> None:
    """Write all pairs of near duplicates, with what was not compared as metadata.

    Raises:
        TailproofError: the file of thumbnails is missing or damaged.
    """
    sample_ids, thumbnails = read_thumbnails(thumbnails_path)
    flat = len(thumbnails) - int(_is_usable(thumbnails).sum())
    threshold = threshold_for(thumbnails)
    pairs, look_alikes = without_chains(find_pairs(thumbnails, threshold), len(thumbnails))
    facts = {
        "pictures": len(thumbnails),
        "flat": flat,
        "threshold": round(threshold, 4),
        "look_alikes": look_alikes,
    }
    write_pairs(output, pairs, sample_ids, facts)
    if look_alikes:
        log.warning(
            "%s in clusters of more than %d pictures, which count as near duplicates from a higher "
            "correlation on",
            quantity(look_alikes, "picture"),
            LARGE_CLUSTER,
        )
    log.info("%s of near duplicates", quantity(len(pairs), "pair"))


def find_pairs(thumbnails: np.ndarray, threshold: float) -> Pairs:
    """Return the pairs of near duplicates among N thumbnails.

    Of pictures with many near duplicates, only `LINKS` pairs or a few more are found, but enough to
    connect them.

    Args:
        thumbnails: uint8 [N, SIDE, SIDE], from `tailproof.data.grey_thumbnail`.
        threshold: the correlation from which a pair counts.
    """
    usable = np.flatnonzero(_is_usable(thumbnails))
    spectra = _spectra(thumbnails, usable)
    hashes = np.stack([_hash(spectra, window) for window in windows()])
    first, second, number, mirrored = _best_windows(hashes, _candidates(hashes))
    correlation, number = _fit(spectra, threshold, first, second, number, mirrored)
    kept = np.flatnonzero(correlation >= threshold)
    one, other = usable[first[kept]], usable[second[kept]]
    low, high = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((high, low))
    kept = kept[order]
    scales = np.array([window.scale for window in fine_windows()])
    return Pairs(low[order], high[order], correlation[kept], mirrored[kept], scales[number[kept]])


def threshold_for(thumbnails: np.ndarray) -> float:
    """Return the correlation from which two pictures of a collection are near duplicates.

    Digits on black look alike without being copies. Distance is 1 − correlation. A copy is at most
    `LOOK_ALIKE_SHARE` as far away as the most alike 1 % of all pairs that are certainly no copies,
    those below `MIN_CORRELATION`. The threshold is never below `MIN_CORRELATION`.

    Args:
        thumbnails: uint8 [N, SIDE, SIDE].
    """
    usable = np.flatnonzero(_is_usable(thumbnails))
    some = np.sort(np.random.default_rng(0).permutation(usable)[:_SAMPLE])
    compared = _weighted(_spectra(thumbnails, some), windows()[0])
    correlation = (compared @ compared.T)[np.triu_indices(len(some), 1)]
    others = correlation[correlation < MIN_CORRELATION]
    if not len(others):
        return MIN_CORRELATION
    alike = float(np.quantile(others, 0.99))
    return max(MIN_CORRELATION, 1.0 - LOOK_ALIKE_SHARE * (1.0 - alike))


def without_chains(pairs: Pairs, count: int) -> tuple[Pairs, int]:
    """Return the pairs that do not chain look-alikes into a large cluster.

    In clusters of more than `LARGE_CLUSTER` pictures the threshold goes halfway to 1, again and
    again, until their parts are smaller. Pictures that are connected by correlations of
    `SAME_PICTURE` or more stay together, however many they are.

    Args:
        pairs: the pairs.
        count: number of pictures.

    Returns:
        The pairs, and how many pictures the large clusters held.
    """
    involved = np.zeros(count, bool)
    threshold = float(pairs.correlation.min(initial=SAME_PICTURE))
    while threshold < SAME_PICTURE:
        clusters = clusters_of(pairs, count)
        large = np.bincount(clusters, minlength=count)[clusters] > LARGE_CLUSTER
        if not large.any():
            break
        involved |= large
        threshold = min(SAME_PICTURE, (1 + threshold) / 2)
        pairs = pairs.where(~large[pairs.first] | (pairs.correlation >= threshold))
    return pairs, int(involved.sum())


def _candidates(hashes: np.ndarray) -> np.ndarray:
    """Return pairs of pictures with similar hashes, int64 [2, P], each pair once.

    Args:
        hashes: uint64 [windows, N].
    """
    count = hashes.shape[1]
    codes = np.empty(0, np.int64)
    for bits in track(_keys(count), "near_duplicates", TABLES):
        table = _Table(hashes[0], bits)
        found = [codes]
        for of_window in hashes:
            for start in range(0, count, _CHUNK):
                one, other = table.lookup(of_window[start : start + _CHUNK], start)
                found.append(np.minimum(one, other) * count + np.maximum(one, other))
        codes = np.unique(np.concatenate(found))
    return np.stack(np.divmod(codes, max(count, 1)))


class _Table:
    """The hashes of whole pictures by the value of some of their bits."""

    def __init__(self, hashes: np.ndarray, bits: np.ndarray) -> None:
        self._hashes = hashes
        self._places = _key_places(bits)
        keys = self._keys(hashes)
        self._order = np.argsort(keys, kind="stable").astype(np.int32)
        self._counts = np.bincount(keys, minlength=1 << len(bits)).astype(np.int32)
        self._starts = (np.cumsum(self._counts) - self._counts).astype(np.int32)
        np.minimum(self._counts, BUCKET, out=self._counts)

    def lookup(self, queries: np.ndarray, start: int) -> np.ndarray:
        """Return int64 [2, M]: queries, numbered from `start`, and similar pictures."""
        keys = self._keys(queries)
        counts = self._counts[keys]
        hit = np.flatnonzero(counts)
        counts = counts[hit]
        query = np.repeat(hit, counts)
        ends = np.cumsum(counts)
        first = self._starts[keys[hit]] - (ends - counts)
        other = self._order[np.repeat(first, counts) + np.arange(len(query))]
        near = _distances(queries[query], self._hashes[other]).min(axis=0) <= MAX_DISTANCE
        near &= query + start != other
        query, other = query[near], other[near]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        linked = rank < LINKS
        return np.stack([query[linked] + start, other[linked].astype(np.int64)])

    def _keys(self, hashes: np.ndarray) -> np.ndarray:
        parts = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 8)
        keys = np.zeros(len(hashes), np.int32)
        for number, values in self._places:
            keys |= values[parts[:, number]]
        return keys


def _distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the differing bits of pairs of hashes as they are, and if one is mirrored [2, P]."""
    differing = some ^ others
    even = np.bitwise_count(differing & _even_mask())
    odd = np.bitwise_count(differing) - even
    odd_bits = FREQUENCIES - int(_even_mask()).bit_count()
    return np.stack([even + odd, even + (np.uint8(odd_bits) - odd)])


def _best_windows(hashes: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, ...]:
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
            distances = _distances(of_window[one], whole[other])
            for mirrored, distance in enumerate(distances):
                better = distance < best
                best[better] = distance[better]
                variant[better] = 4 * number + 2 * turned + mirrored
    kept = best <= MAX_DISTANCE
    candidates, variant = candidates[:, kept], variant[kept]
    turned = (variant & 2).astype(bool)
    first = np.where(turned, candidates[1], candidates[0])
    second = np.where(turned, candidates[0], candidates[1])
    return first, second, variant // 4, (variant & 1).astype(bool)


def _fit(
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
    for start in range(0, len(first), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        shown = spectra[first[chunk]].astype(np.float32)
        other = _compared_whole(spectra[second[chunk]], mirrored[chunk])
        best, fits = correlation[chunk], number[chunk]
        for place in np.unique(fits):
            some = np.flatnonzero(fits == place)
            best[some] = _correlation(shown[some], place, other[some])
        for others, margin in zip(windows_of_stage, (COARSE_MARGIN, FINE_MARGIN), strict=True):
            near = np.flatnonzero((best >= threshold - margin) & (best < threshold))
            pictures, copies = shown[near], other[near]
            for place in others:
                compared = _correlation(pictures, place, copies)
                better = compared > best[near]
                best[near[better]] = compared[better]
                fits[near[better]] = place
    return correlation, number


def _correlation(spectra: np.ndarray, number: int, others: np.ndarray) -> np.ndarray:
    """Return the correlation of a window of pictures with other pictures, float32 [P].

    Args:
        spectra: low frequencies of the pictures [P, K].
        number: the window.
        others: weighted spectra of the other pictures [P, frequencies].
    """
    return np.einsum("pf,pf->p", _weighted(spectra, fine_windows()[number]), others)


def _compared_whole(spectra: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Return the weighted spectra of whole pictures, some of them mirrored."""
    weighted = _weighted(spectra, windows()[0])
    weighted[np.ix_(mirrored, _compared()[:, 1] % 2 == 1)] *= -1
    return weighted


def _spectra(thumbnails: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return the low frequencies of the usable thumbnails, float16 [N, K]."""
    basis = _cosines()
    rows, columns = _kept().T
    matrix = (basis[rows, :, None] * basis[columns, None, :]).reshape(len(rows), -1).T
    spectra = np.empty((len(usable), len(rows)), np.float16)
    for start in range(0, len(usable), _CHUNK):
        values = thumbnails[usable[start : start + _CHUNK]].reshape(-1, SIDE * SIDE)
        values = values.astype(np.float32) - FLAT_VALUE
        spectra[start : start + _CHUNK] = values @ matrix.astype(np.float32)
    return spectra


def _weighted(spectra: np.ndarray, window: Window) -> np.ndarray:
    """Return the weighted spectra of a window, of length 1, float32 [N, frequencies]."""
    weighted = spectra.astype(np.float32) @ window.spectrum_matrix
    return weighted / np.linalg.norm(weighted, axis=1, keepdims=True).clip(1e-6)


def _hash(spectra: np.ndarray, window: Window) -> np.ndarray:
    """Return the hash of a window of each picture, uint64 [N]."""
    hashes = np.empty(len(spectra), np.uint64)
    for start in range(0, len(spectra), _CHUNK):
        positive = spectra[start : start + _CHUNK].astype(np.float32) @ window.hash_matrix > 0
        bits = np.packbits(positive, axis=1, bitorder="little")
        hashes[start : start + _CHUNK] = bits.view("<u8")[:, 0]
    return hashes


def _is_usable(thumbnails: np.ndarray) -> np.ndarray:
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


def _keys(count: int) -> list[np.ndarray]:
    """Return the bits of each table's key: as many that buckets hold few pictures by chance."""
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
