"""The stage near_duplicates: pictures that differ by compression, size, crop, mirror or brightness.

Pictures are hashed, looked up and compared as `tailproof.data.picture_hashes` says. The threshold
is higher in a collection of look-alikes, see `threshold_for`, and in large clusters, see
`without_chains`.

Time and memory grow linearly with the number of pictures, however many are alike.
"""

import logging
from pathlib import Path

import numpy as np

from tailproof.data.duplicate_pairs import Pairs, clusters_of, write_pairs
from tailproof.data.grey_thumbnail import read_thumbnails
from tailproof.data.picture_hashes import (
    CHUNK,
    TABLES,
    Table,
    best_windows,
    fine_windows,
    fit,
    hash_of,
    is_usable,
    spectra_of,
    table_keys,
    weighted_spectra,
    windows,
)
from tailproof.runtime.progress import track
from tailproof.text import quantity

log = logging.getLogger(__name__)

MIN_CORRELATION = 0.89
LOOK_ALIKE_SHARE = 0.2
LARGE_CLUSTER = 20
SAME_PICTURE = 0.98
_SAMPLE = 1000


def list_near_duplicates(thumbnails_path: str | Path, output: str | Path) -> None:
    """Write all pairs of near duplicates, with what was not compared as metadata.

    Raises:
        TailproofError: the file of thumbnails is missing or damaged.
    """
    sample_ids, thumbnails = read_thumbnails(thumbnails_path)
    flat = len(thumbnails) - int(is_usable(thumbnails).sum())
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
            "%s in clusters of more than %d pictures that look alike: among these, only pairs "
            "with a higher correlation count as near duplicates",
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
    usable = np.flatnonzero(is_usable(thumbnails))
    spectra = spectra_of(thumbnails, usable)
    hashes = np.stack([hash_of(spectra, window) for window in windows()])
    first, second, number, mirrored = best_windows(hashes, _candidates(hashes))
    correlation, number = fit(spectra, threshold, first, second, number, mirrored)
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
    usable = np.flatnonzero(is_usable(thumbnails))
    some = np.sort(np.random.default_rng(0).permutation(usable)[:_SAMPLE])
    compared = weighted_spectra(spectra_of(thumbnails, some), windows()[0])
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
    for bits in track(table_keys(count), "near_duplicates", TABLES):
        table = Table(hashes[0], bits)
        found = [codes]
        for of_window in hashes:
            for start in range(0, count, CHUNK):
                one, other = table.lookup(of_window[start : start + CHUNK], start)
                found.append(np.minimum(one, other) * count + np.maximum(one, other))
        codes = np.unique(np.concatenate(found))
    return np.stack(np.divmod(codes, max(count, 1)))
