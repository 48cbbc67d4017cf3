"""A split on disk: ids, labels and weights are kept in memory, images are read by row."""

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.data.images import decode
from tailproof.data.multiband import MODE
from tailproof.data.tables import numbers, read_parquet, unreadable
from tailproof.files import read_json
from tailproof.loading.sampler import drop_oldest
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

BLOCK_ROWS = 16384  # rows that are shuffled together, unless they are large
BLOCK_BYTES = 256 * 2**20  # encoded images that a reader keeps besides one row group


class Split:
    """The rows of one split, in the order of its shards.

    Attributes:
        manifest: the manifest of all splits.
        sample_ids: list of str [N].
        labels: int64 [N] for each taxonomic rank; -1 means no label.
        weight: float64 [N].
        groups: number of rows of each row group.
        block_rows: number of rows that are shuffled together, which a reader can keep.
    """

    def __init__(self, manifest_path: str | Path, name: str) -> None:
        """Open the shards.

        Raises:
            TailproofError: a shard is missing or damaged, or is not that of the manifest.
        """
        self.name = name
        self.manifest: dict[str, Any] = read_json(manifest_path)
        folder = Path(manifest_path).parent
        self.paths: list[str] = []
        self.groups: list[int] = []
        self._where: list[tuple[int, int]] = []  # (shard, row group in it) of each row group
        tables, size = [], 0
        for number, shard in enumerate(self.manifest["splits"][name]["shards"]):
            path = folder / shard["path"]
            columns = ["sample_id", "weight", *self.manifest["ranks"]]
            tables.append(read_parquet(path, columns))
            if len(tables[-1]) != shard["rows"]:
                raise TailproofError(
                    f"{path} has {quantity(len(tables[-1]), 'row')}, expected {shard['rows']:,} as "
                    "in the manifest: delete it and run snakemake again"
                )
            rows = pq.ParquetFile(path).metadata
            for group in range(rows.num_row_groups):
                self.groups.append(rows.row_group(group).num_rows)
                self._where.append((number, group))
            self.paths.append(str(path))
            size += shard["bytes"]
        table = pa.concat_tables(tables)
        self.sample_ids: list[str] = table["sample_id"].to_pylist()
        self.weight = numbers(table["weight"])
        self.labels = {rank: numbers(table[rank]) for rank in self.manifest["ranks"]}
        self._starts = list(accumulate(self.groups, initial=0))
        self.block_rows = min(BLOCK_ROWS, max(1, BLOCK_BYTES * len(self) // max(size, 1)))
        self._kept: dict[int, bytes] = {}
        self._cache: dict[int, pa.Array] = {}  # oldest first
        self._files: dict[int, pq.ParquetFile] = {}

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files, which a worker process cannot use."""
        return {**self.__dict__, "_cache": {}, "_files": {}}

    @property
    def channels(self) -> int:
        """The number of channels: 1 for grey, 3 for colour, else the number of bands."""
        return self.manifest["bands"]

    @property
    def dtype(self) -> np.dtype:
        """The type of the pixels: uint8, or float32 for arrays of bands."""
        return np.dtype(np.float32 if self.manifest["mode"] == MODE else np.uint8)

    @property
    def full_scale(self) -> float:
        """The divisor that brings pixels to the unit of the normalization."""
        return 1.0 if self.manifest["mode"] == MODE else 255.0

    def keep(self, rows: np.ndarray) -> None:
        """Read the encoded images of these rows, and keep them in memory."""
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        self._kept = {}
        for group in np.unique(groups).tolist():
            wanted = rows[groups == group]
            images = self._read(group).take(pa.array(wanted - self._starts[group]))
            self._kept.update(zip(wanted.tolist(), images.to_pylist(), strict=True))

    def encoded(self, row: int) -> bytes:
        """Return the encoded bytes of one image. Its row group is cached, unless it is kept."""
        if row in self._kept:
            return self._kept[row]
        group = bisect_right(self._starts, row) - 1
        images = self._cache.get(group)
        if images is None:
            images = self._read(group)
            self._cache[group] = images
            drop_oldest(self._cache, self.block_rows + max(self.groups))
        return images[row - self._starts[group]].as_py()

    def image(self, row: int) -> np.ndarray:
        """Return one decoded image, [H, W, C] of `dtype`, in its original size."""
        image = decode(self.encoded(row), self.manifest["mode"])
        return image if image.ndim == 3 else image[:, :, None]

    def _read(self, group: int) -> pa.Array:
        """Return the encoded images of one row group, binary [rows]."""
        shard, inside = self._where[group]
        if shard not in self._files:
            # A memory map copies the bytes once instead of twice.
            self._files[shard] = pq.ParquetFile(self.paths[shard], memory_map=True)
        try:
            table = self._files[shard].read_row_group(
                inside, columns=["image.bytes"], use_threads=False
            )
        except (pa.ArrowException, OSError) as error:
            place = f"{self.paths[shard]}, row group {inside}"
            raise unreadable(place, error, "run snakemake again with --forcerun shard") from error
        return table["image"].chunk(0).field("bytes")  # a row group of structs is one chunk
