"""The stage prepare: decodes every image of the source once and lists it in samples.parquet."""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tailproof.config.data import Data
from tailproof.data.images import decode, pixel_digest
from tailproof.data.multiband import MODE
from tailproof.data.sources import Sample, Source, open_source
from tailproof.data.sources.base import where
from tailproof.data.tables import with_metadata, write_parquet
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.progress import track

log = logging.getLogger(__name__)

BATCH = 8192  # rows kept as Python objects; in Arrow a row takes about 300 bytes


def prepare(config: Data, output: str | Path) -> None:
    """Decode every image of the configured source and write samples.parquet.

    The mode is ``L`` if no image has colour, whatever its file declares, and else ``RGB``. For
    arrays of bands it is ``float32``.

    Raises:
        TailproofError: the source is missing, damaged or invalid, or an image does not decode.
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
        "mode": MODE if rows.arrays else "RGB" if rows.colour else "L",
        "bands": rows.bands if rows.arrays else 3 if rows.colour else 1,
    }
    table = pa.concat_tables(batches)
    write_parquet(output, with_metadata(table, metadata))
    log.info("%d samples listed, mode %s", len(table), metadata["mode"])


class _Rows:
    """The rows of samples.parquet.

    Attributes:
        colour: whether any image so far has colour.
        arrays: whether the images are arrays of bands; None before the first image.
        bands: the number of bands of such images.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.colour = False
        self.arrays: bool | None = None
        self.bands = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for sample in self.source.samples():
            yield self._row(sample)

    def _row(self, sample: Sample) -> dict[str, Any]:
        encoded = self.source.read(sample.path, sample.row)
        try:
            image = decode(encoded)
            self._check_kind(image)
        except TailproofError as error:
            path = Path(self.source.root or "", sample.path)
            raise TailproofError(
                f"{where(path, sample.row)}: {error}; replace or remove the image"
            ) from error
        self.colour |= image.ndim == 3 and not self.arrays
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

    def _check_kind(self, image: np.ndarray) -> None:
        """Check that an image has the same kind and number of bands as the first one."""
        arrays = image.dtype == np.float32
        if self.arrays is None:
            self.arrays, self.bands = arrays, image.shape[2] if arrays else 0
        kinds = {True: "an array of bands", False: "an 8-bit picture"}
        if arrays != self.arrays:
            raise TailproofError(
                f"it is {kinds[arrays]}, but the first image is {kinds[self.arrays]}"
            )
        if arrays and image.shape[2] != self.bands:
            raise TailproofError(
                f"it has {image.shape[2]} bands, but the first image {self.bands} (its shape is "
                f"{list(image.shape)}: height, width, bands)"
            )


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
