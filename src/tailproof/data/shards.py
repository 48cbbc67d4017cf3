"""The stage shard: parquet files of each split in the Hugging Face image layout.

Each job writes one part of a split, and next to it the facts for `tailproof.data.manifest`.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS, UNKNOWN_SPLITS
from tailproof.data.class_index import class_index
from tailproof.data.heic import without_heic
from tailproof.data.images import decode, pixel_digest
from tailproof.data.multiband import MODE
from tailproof.data.normalization import BandMoments, PixelSums
from tailproof.data.sources import Source
from tailproof.data.sources.base import where
from tailproof.data.tables import read_parquet, table_metadata, with_metadata
from tailproof.data.unknown_pictures import open_pictures
from tailproof.digests import sha256_file
from tailproof.files import atomic, write_json
from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.progress import track
from tailproof.text import quantity

ROW_GROUP = 1024  # maximum rows; the loader reads and shuffles by row group
GROUP_BYTES = 128 * 2**20  # a row group of large images ends at this size


def shard(
    samples_path: str | Path,
    splits_path: str | Path,
    config: Data,
    split: str,
    part: int,
    output: str | Path,
    facts: str | Path,
) -> None:
    """Write one shard of a split, and its facts (rows, digest, pixel sums).

    Rows are in a seeded random order, so that a part is a fair sample of its split. Memory holds
    one row group, which ends at `GROUP_BYTES`, and what the source needs to read in that order.

    Raises:
        TailproofError: an image is missing or has changed since prepare read it.
    """
    metadata = table_metadata(samples_path)
    rows = _rows(samples_path, splits_path, config.seed, split, part, config.shards_per_split)
    schema = _schema(metadata)
    source = open_pictures(config)
    sums = (BandMoments if metadata["mode"] == MODE else PixelSums)(metadata["bands"])
    with atomic(output) as temporary:
        with pq.ParquetWriter(
            # PNG and JPEG do not compress further, and plain pages are the fastest to read.
            temporary,
            schema,
            compression={
                name: "none" if name == "image.bytes" else "zstd" for name in _leaves(schema)
            },
            use_dictionary=False,
            write_statistics=False,
        ) as writer:
            places = zip(rows["path"].to_pylist(), rows["row"].to_pylist(), strict=True)
            encoded = _read(source, list(places))
            encoded = track(encoded, f"shard {split} {part}", total=len(rows))
            for group, images in _groups(rows, encoded):
                for image, sample in zip(images, group.to_pylist(), strict=True):
                    pixels = _unchanged(image, sample)
                    if split == "train":
                        sums.add(pixels)
                writer.write_table(
                    _table(group, images, metadata, schema), row_group_size=ROW_GROUP
                )
        digest, size = sha256_file(temporary), temporary.stat().st_size
    write_json(
        facts,
        {
            "rows": len(rows),
            "sha256": digest,
            "bytes": size,
            "class_counts": _class_counts(rows, metadata),
            "pixels": sums.facts(),
        },
    )


def _read(source: Source, places: list[tuple[str, int | None]]) -> Iterator[bytes]:
    """Yield the images as the shards store them, which is as the source has them but for HEIC."""
    for place, encoded in zip(places, source.read_many(places), strict=True):
        with _named(*place):
            yield without_heic(encoded)


@contextmanager
def _named(path: str, row: int | None) -> Iterator[None]:
    """Name the image in an error: prepare has read it, so it has changed since."""
    try:
        yield
    except Interrupted:
        raise
    except TailproofError as error:
        raise TailproofError(
            f"{where(path, row)}: {error}; the picture has changed since the stage prepare read "
            "it: run snakemake again with --forcerun prepare"
        ) from error


def _groups(rows: pa.Table, encoded: Iterable[bytes]) -> Iterator[tuple[pa.Table, list[bytes]]]:
    """Yield rows with their images as row groups of bounded rows and bytes."""
    start, size, images = 0, 0, []
    for image in encoded:
        images.append(image)
        size += len(image)
        if len(images) == ROW_GROUP or size >= GROUP_BYTES or start + len(images) == len(rows):
            yield rows.slice(start, len(images)), images
            start, size, images = start + len(images), 0, []


def _unchanged(encoded: bytes, sample: dict[str, Any]) -> np.ndarray:
    """Decode an image, and check that it is the one that prepare read."""
    with _named(sample["path"], sample["row"]):
        pixels = decode(encoded)
    if pixel_digest(pixels) != sample["digest"]:
        raise TailproofError(
            f"{where(sample['path'], sample['row'])}: the picture has changed since the stage "
            "prepare read it: run snakemake again with --forcerun prepare"
        )
    return pixels


def _rows(
    samples_path: str | Path, splits_path: str | Path, seed: int, split: str, part: int, parts: int
) -> pa.Table:
    """Return the samples of one part with their weights, in the order of the shard."""
    splits = read_parquet(splits_path).to_pandas()
    samples = read_parquet(samples_path).to_pandas()
    rows = splits[splits["split"] == split].merge(samples, on="sample_id", how="left")
    number = (*SPLITS, *UNKNOWN_SPLITS).index(split)
    order = np.random.default_rng([seed, number]).permutation(len(rows))
    chosen = np.array_split(order, parts)[part]
    if not len(chosen):
        raise TailproofError(
            f"the split {split} has {quantity(len(rows), 'sample')}, expected at least {parts}, "
            "one for each shard: lower data.shards_per_split"
        )
    columns = [field.name for field in pq.read_schema(samples_path)] + ["weight"]
    schema = pa.schema([*pq.read_schema(samples_path), pa.field("weight", pa.float64())])
    return pa.Table.from_pandas(
        rows.iloc[chosen][columns], schema=schema.remove_metadata(), preserve_index=False
    )


def _schema(metadata: dict[str, Any]) -> pa.Schema:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features: dict[str, Any] = {
        "sample_id": {"dtype": "string", "_type": "Value"},
        "image": _feature(metadata["mode"]),
    }
    for rank in metadata["ranks"]:
        features[rank] = {"names": metadata["classes"][rank], "_type": "ClassLabel"}
    features["weight"] = {"dtype": "float64", "_type": "Value"}
    schema = pa.schema(
        [
            ("sample_id", pa.string()),
            ("image", image),
            *((rank, pa.int64()) for rank in metadata["ranks"]),
            ("weight", pa.float64()),
        ]
    )
    huggingface = json.dumps({"info": {"features": features}}, sort_keys=True)
    kept = {key: metadata[key] for key in ("ranks", "classes", "mode", "bands")}
    empty = with_metadata(schema.empty_table(), kept, huggingface=huggingface)
    return empty.schema


def _feature(mode: str) -> dict[str, Any]:
    """Return the image feature for Hugging Face datasets: a picture, or .npy bytes."""
    if mode != MODE:
        return {"_type": "Image"}
    return {
        "bytes": {"dtype": "binary", "_type": "Value"},
        "path": {"dtype": "string", "_type": "Value"},
    }


def _leaves(schema: pa.Schema) -> list[str]:
    names = [name for name in schema.names if name != "image"]
    return [*names, "image.bytes", "image.path"]


def _table(
    rows: pa.Table, images: list[bytes], metadata: dict[str, Any], schema: pa.Schema
) -> pa.Table:
    columns = {
        "sample_id": rows["sample_id"],
        "image": [{"bytes": image, "path": None} for image in images],
        "weight": rows["weight"],
    }
    for rank in metadata["ranks"]:
        index = class_index(metadata["classes"][rank])
        columns[rank] = [None if n is None else index[n] for n in rows[rank].to_pylist()]
    return pa.Table.from_pydict(columns, schema=schema)


def _class_counts(rows: pa.Table, metadata: dict[str, Any]) -> dict[str, dict[str, int]]:
    counts = {}
    for rank in metadata["ranks"]:
        pairs = rows[rank].value_counts().to_pylist()
        by_name = {pair["values"]: pair["counts"] for pair in pairs}
        counts[rank] = {name: by_name.get(name, 0) for name in metadata["classes"][rank]}
    return counts
