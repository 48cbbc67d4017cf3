"""Fingerprints of the images of all splits, for people who may not see the images.

A fingerprint is the first half of the SHA-256 of an image's pixels, and the signs of its 64 lowest
frequencies (pHash). It says in which split the image is, and nothing of its name, class or place.
Crop windows have no hashes here: the signs of so many windows would show the picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tailproof.config.splits import SPLITS
from tailproof.data.copy_search import first_of_each, nearest
from tailproof.data.grey_thumbnail import read_thumbnails
from tailproof.data.near_duplicates import threshold_for
from tailproof.data.picture_hashes import (
    CHUNK,
    MAX_DISTANCE,
    Table,
    compared_whole,
    distances,
    hash_of,
    is_usable,
    spectra_of,
    table_keys,
    windows,
)
from tailproof.data.tables import read_parquet, table_metadata, with_metadata, write_parquet
from tailproof.runtime.errors import TailproofError

FORMAT = 1
DIGEST_BYTES = 16
FALSE_MATCHES = 0.01
"""Largest share of other pictures that may match a fingerprint of the collection."""
SAMPLE = 500  # pictures of which this share is measured
LARGEST_BUCKET = 304  # hashes of one key that are compared


@dataclass(frozen=True)
class ImageTables:
    """The tables of one experiment that say which image is in which split.

    Attributes:
        experiment: its name.
        samples: path of samples.parquet.
        splits: path of splits.parquet.
        thumbnails: path of the thumbnails.
        raw: path of raw.parquet.
    """

    experiment: str
    samples: Path
    splits: Path
    thumbnails: Path
    raw: Path


def write_fingerprints(tables: Iterable[ImageTables], output: str | Path) -> None:
    """Write the fingerprints of all images that are in a split, sorted, so that no order shows.

    Args:
        tables: the experiments whose images an expert may have learnt.
        output: the file.

    Raises:
        TailproofError: a table is missing or damaged.
    """
    parts, limits, modes = [], [], []
    for of_experiment in tables:
        part, limit = _of_experiment(of_experiment)
        parts.append(part)
        limits.append(limit)
        modes.append(table_metadata(of_experiment.samples)["mode"])
    table = pa.concat_tables(parts).sort_by(
        [(name, "ascending") for name in ("digest", "experiment", "split")]
    )
    facts = {"format": FORMAT, "max_distance": min(limits), "mode": modes[0]}
    write_parquet(output, with_metadata(table, facts))


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of N images.

    Attributes:
        digests: of their pixels, bytes of length `DIGEST_BYTES`, an Arrow array [N].
        hashes: uint64 [N]; those of flat images mean nothing.
        usable: whether an image is not flat, boolean [N].
        experiments: names [N].
        splits: names [N].
        max_distance: bits by which the hashes of copies differ at most; -1 if the images are too
            much alike for hashes.
        mode: the mode of the images.
    """

    digests: pa.Array
    hashes: np.ndarray
    usable: np.ndarray
    experiments: np.ndarray
    splits: np.ndarray
    max_distance: int
    mode: str

    @classmethod
    def read(cls, path: str | Path) -> "Fingerprints":
        """Read the file.

        Raises:
            TailproofError: it is missing, damaged or of another version.
        """
        table, facts = (
            read_parquet(path, ["digest", "hash", "experiment", "split"]),
            table_metadata(path),
        )
        limit, mode = facts.get("max_distance"), facts.get("mode")
        if facts.get("format") != FORMAT or not isinstance(limit, int) or not isinstance(mode, str):
            raise TailproofError(
                f"{path} has fingerprints of the format {facts.get('format')!a:.20}, expected "
                f"{FORMAT}: run `tailproof attest` with --fingerprints again"
            )
        try:
            table = table.cast(_schema()).combine_chunks()
            others = set(table["split"].unique().to_pylist()) - set(SPLITS)
            if others:
                raise ValueError(f"it has unknown splits: {sorted(map(str, others))!a:.80}")
            if table["experiment"].null_count or table["digest"].null_count:
                raise ValueError("its columns 'experiment' or 'digest' lack values")
        except (pa.ArrowException, ValueError) as error:
            raise TailproofError(
                f"{path} is damaged ({error}): copy the whole folder again"
            ) from None
        return cls(
            digests=table["digest"].combine_chunks(),
            hashes=table["hash"].fill_null(0).to_numpy(),
            usable=table["hash"].is_valid().to_numpy(),
            experiments=table["experiment"].to_numpy(),
            splits=table["split"].to_numpy(),
            max_distance=min(limit, MAX_DISTANCE),
            mode=mode,
        )

    @cached_property
    def rows(self) -> dict[bytes, list[int]]:
        """The rows of each digest."""
        rows: dict[bytes, list[int]] = {}
        for row, digest in enumerate(self.digests.to_pylist()):
            rows.setdefault(digest, []).append(row)
        return rows

    @cached_property
    def parts(self) -> np.ndarray:
        """The number of each row's experiment and split, int64 [N]."""
        places = np.char.add(
            np.char.add(self.experiments.astype(str), "/"), self.splits.astype(str)
        )
        return np.unique(places, return_inverse=True)[1]

    def near(self, thumbnails: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return which pictures have the hash of a known one, up to `max_distance` bits.

        Args:
            thumbnails: uint8 [Q, SIDE, SIDE].

        Returns:
            The index of each picture, the nearest row of each part, the bits by which they differ,
            and whether one is the mirror image of the other.
        """
        asked = np.flatnonzero(is_usable(thumbnails))
        hashes = hash_of(spectra_of(thumbnails, asked), windows()[0])
        rows = [np.flatnonzero(self.usable & (self.parts == part)) for part in set(self.parts)]
        found = [np.empty((2, 0), np.int64)]
        for bits in table_keys(len(self.parts)) if self.max_distance >= 0 else ():
            tables = [Table(self.hashes[part], bits, LARGEST_BUCKET) for part in rows]
            for start in range(0, len(hashes), CHUNK):
                chunk = hashes[start : start + CHUNK]
                for part, table in zip(rows, tables, strict=True):
                    query, entry, distance = table.near(chunk, table.keys(chunk))
                    kept = nearest(query, entry, distance)
                    found.append(np.stack([query[kept] + start, part[entry[kept]]]))
        query, row = np.unique(np.concatenate(found, axis=1), axis=1)
        both = distances(hashes[query], self.hashes[row])
        distance, mirrored = both.min(axis=0), both.argmin(axis=0).astype(bool)
        order = np.lexsort((row, distance, self.parts[row], query))
        order = order[distance[order] <= self.max_distance]
        kept = order[first_of_each(query[order], self.parts[row[order]])]
        return asked[query[kept]], row[kept], distance[kept], mirrored[kept]


def _of_experiment(tables: ImageTables) -> tuple[pa.Table, int]:
    """Return the fingerprints of one experiment's images, and how far copies may be apart."""
    samples = read_parquet(tables.samples, ["sample_id", "digest"])
    splits = read_parquet(tables.splits, ["sample_id", "split"])
    # Unknown pictures are in two splits of their own, and no expert has learnt or measured them.
    splits = splits.filter(pc.is_in(splits["split"], pa.array(SPLITS))).combine_chunks()
    ids, thumbnails = read_thumbnails(tables.thumbnails)
    order = pc.index_in(splits["sample_id"], samples["sample_id"].combine_chunks())
    shown = thumbnails[pc.index_in(splits["sample_id"], ids).to_numpy()]
    usable = np.flatnonzero(is_usable(shown))
    spectra = spectra_of(shown, usable)
    hashes = np.zeros(len(shown), np.uint64)
    hashes[usable] = hash_of(spectra, windows()[0])
    flat = np.ones(len(shown), bool)
    flat[usable] = False
    digests = samples["digest"].take(order).to_pylist()
    table = pa.table(
        {
            "digest": pa.array(
                [bytes.fromhex(digest)[:DIGEST_BYTES] for digest in digests],
                pa.binary(DIGEST_BYTES),
            ),
            "hash": pa.array(hashes, pa.uint64(), mask=flat),
            "experiment": pa.repeat(tables.experiment, len(shown)),
            "split": splits["split"],
        },
        schema=_schema(),
    )
    return table, max_distance_for(spectra, hashes[usable], threshold_for(shown))


def max_distance_for(spectra: np.ndarray, hashes: np.ndarray, threshold: float) -> int:
    """Return the largest distance of hashes at which few pictures match one that is no copy.

    Args:
        spectra: of N pictures, from `tailproof.data.picture_hashes.spectra_of`.
        hashes: of the whole pictures, uint64 [N].
        threshold: the correlation from which two pictures are copies.

    Returns:
        The distance in bits, at most `MAX_DISTANCE`; -1 if even equal hashes say too little.
    """
    some = np.sort(np.random.default_rng(0).permutation(len(hashes))[:SAMPLE])
    nearest = np.full(len(some), MAX_DISTANCE + 1)
    for place, own in enumerate(some):
        both = distances(hashes[own], hashes)
        both[:, own] = MAX_DISTANCE + 1
        close = np.flatnonzero(both.min(axis=0) <= MAX_DISTANCE)
        mirrored = both[:, close].argmin(axis=0).astype(bool)
        shown = compared_whole(spectra[own : own + 1], np.zeros(1, bool))
        alike = compared_whole(spectra[close], mirrored) @ shown[0]
        others = both.min(axis=0)[close[alike < threshold]]
        nearest[place] = others.min(initial=MAX_DISTANCE + 1)
    shares = [float(np.mean(nearest <= bits)) for bits in range(MAX_DISTANCE + 1)]
    return sum(share <= FALSE_MATCHES for share in shares) - 1


def _schema() -> pa.Schema:
    return pa.schema(
        [
            ("digest", pa.binary(DIGEST_BYTES)),
            ("hash", pa.uint64()),
            ("experiment", pa.string()),
            ("split", pa.string()),
        ]
    )
