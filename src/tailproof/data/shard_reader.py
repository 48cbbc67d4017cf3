"""Reads the rows of a split one after the other, without torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.data.tables import unreadable

BATCH = 256


def rows_of(
    manifest: str | Path, facts: dict[str, Any], split: str
) -> Iterator[tuple[bytes, int | None]]:
    """Yield the encoded image and the class index at the target rank of every sample of a split.

    Args:
        manifest: the path of shards/manifest.json.
        facts: the content of that file.
        split: the name of the split.

    Raises:
        TailproofError: a shard is missing or damaged.
    """
    target = facts["target"]
    for shard in facts["splits"][split]["shards"]:
        path = Path(manifest).parent / shard["path"]
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH, columns=["image", target]):
                    images = batch["image"].field("bytes").to_pylist()
                    yield from zip(images, batch[target].to_pylist(), strict=True)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise unreadable(path, error, "run snakemake again with --forcerun shard") from None
