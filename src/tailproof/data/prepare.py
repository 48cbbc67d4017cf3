"""The stage prepare: look at every image of the source once and list it in samples.parquet."""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from tailproof.core.config.data import Data
from tailproof.core.errors import TailproofError
from tailproof.core.files import with_metadata, write_parquet
from tailproof.core.progress import track
from tailproof.data.images import decode, pixel_digest
from tailproof.data.sources import Sample, Source, open_source
from tailproof.data.sources.base import where

log = logging.getLogger(__name__)

BATCH = 8192  # rows held as Python objects; as Arrow a row takes about 300 bytes


def prepare(config: Data, output: str | Path) -> None:
    """Decode every image of the configured source and write samples.parquet.

    The mode is ``L`` if no image holds any colour, however its file says so, else ``RGB``.

    Raises:
        TailproofError: the source is missing, damaged or wrong, or an image does not decode.
    """
    source = open_source(config.source)
    source.fetch()
    schema = _schema(source)
    rows = _Rows(source)
    listed = track(rows, "prepare", len(source))
    batches = []
    while batch := list(islice(listed, BATCH)):
        batches.append(pa.Table.from_pylist(batch, schema=schema))
    metadata = {
        "ranks": list(source.ranks),
        "classes": source.classes,
        "mode": "RGB" if rows.colour else "L",
    }
    table = pa.concat_tables(batches)
    write_parquet(output, with_metadata(table, metadata))
    log.info("%d samples listed, mode %s", len(table), metadata["mode"])


class _Rows:
    """The rows of samples.parquet; `colour` tells whether an image so far held any."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.colour = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for sample in self.source.samples():
            yield self._row(sample)

    def _row(self, sample: Sample) -> dict[str, Any]:
        encoded = self.source.read(sample.path, sample.row)
        try:
            image = decode(encoded)
        except TailproofError as error:
            path = Path(self.source.root or "", sample.path)
            raise TailproofError(
                f"{where(path, sample.row)}: {error}; replace it or remove it"
            ) from error
        self.colour |= image.ndim == 3
        return {
            "sample_id": sample.sample_id,
            "digest": pixel_digest(image),
            "group": sample.group or sample.sample_id,
            "pool": sample.pool,
            **sample.labels,
            "path": sample.path,
            "row": sample.row,
            "height": image.shape[0],
            "width": image.shape[1],
        }


def _schema(source: Source) -> pa.Schema:
    text = ["sample_id", "digest", "group", "pool", *source.ranks, "path"]
    return pa.schema(
        [
            *((name, pa.string()) for name in text),
            ("row", pa.int64()),
            ("height", pa.int32()),
            ("width", pa.int32()),
        ]
    )
