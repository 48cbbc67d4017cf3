"""The files of stored features: written by the stage embed, read by heads.

``features/KEY/SPLIT.parquet`` is a folder of one file per shard, ``part-00000.parquet``, with a row
group per row group of the shard. Its columns are `sample_id`, the label of each taxonomic rank,
`weight`, with several views also `view`, and one list of numbers per layer. pandas reads the folder
as one table.
"""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.config.frozen_backbone import LAYERS
from tailproof.data.tables import numbers, read_parquet, table_metadata, unreadable, with_metadata
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError

BLOCK_BYTES = 256 * 2**20
"""Features that are shuffled together, and that a reader keeps."""

AGAIN = "delete it and run snakemake again"


def part_path(folder: str | Path, split: str, part: int) -> Path:
    """Return the file of the features of one shard.

    Args:
        folder: the folder of the features, ``features/KEY``.
        split: the name of the split.
        part: the number of the shard.
    """
    return Path(folder, f"{split}.parquet", f"part-{part:05d}.parquet")


class FeatureWriter:
    """Writes the features of one shard, a row group at a time.

    Args:
        path: the file to write; see `tailproof.files.atomic`.
        ranks: the taxonomic ranks.
        views: number of views of each sample.
        facts: plain values that are stored with the features: `layers`, pairs of a name and a
            width, in the order of the columns; `dtype`, float32 or float16; `shard_sha256`; and how
            they were computed.

    Raises:
        TailproofError: a rank has the name of another column.
    """

    def __init__(
        self, path: str | Path, *, ranks: list[str], views: int, facts: dict[str, Any]
    ) -> None:
        if taken := sorted({"view", *LAYERS} & set(ranks)):
            raise TailproofError(
                f"the rank '{taken[0]}' has the name of a column of features "
                f"({', '.join(('view', *LAYERS))}): rename the rank's column in the source"
            )
        layers = dict(facts["layers"])
        self._ranks, self._layers, self._views = ranks, layers, views
        number = pa.from_numpy_dtype(np.dtype(facts["dtype"]))
        schema = pa.schema(
            [
                ("sample_id", pa.string()),
                *((rank, pa.int64()) for rank in ranks),
                ("weight", pa.float64()),
                *([("view", pa.int8())] if views > 1 else []),
                *((name, _list_of(number, width)) for name, width in layers.items()),
            ]
        )
        stored = facts | {"ranks": ranks, "views": views}
        self._schema = with_metadata(schema.empty_table(), stored).schema
        dense = {f"{name}.list.element" for name in layers}
        columns = [*ranks, "sample_id", "weight", "view"]
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression={name: "zstd" for name in columns if name in schema.names}
            | dict.fromkeys(dense, "none"),
            use_dictionary=[name for name in columns if name in schema.names],
            write_statistics=False,
        )

    def __enter__(self) -> "FeatureWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(
        self,
        sample_ids: list[str],
        labels: dict[str, np.ndarray],
        weight: np.ndarray,
        features: np.ndarray,
    ) -> None:
        """Write one row group.

        Args:
            sample_ids: ids of the samples, [N].
            labels: int64 [N] for each rank; -1 means no label.
            weight: float64 [N].
            features: [N, views, width], the layers one after the other.
        """
        views = self._views
        columns: dict[str, Any] = {"sample_id": np.repeat(sample_ids, views)}
        for rank in self._ranks:
            values = np.repeat(labels[rank], views)
            columns[rank] = pa.array(values, mask=values < 0)
        columns["weight"] = np.repeat(weight, views)
        if views > 1:
            columns["view"] = np.tile(np.arange(views, dtype=np.int8), len(sample_ids))
        start = 0
        for name, width in self._layers.items():
            values = np.ascontiguousarray(features[:, :, start : start + width]).reshape(-1)
            columns[name] = pa.FixedSizeListArray.from_arrays(
                pa.array(values), type=self._schema.field(name).type
            )
            start += width
        table = pa.Table.from_pydict(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=max(1, len(table)))


def _list_of(number: pa.DataType, width: int) -> pa.DataType:
    return pa.list_(pa.field("element", number, nullable=False), width)


class FeatureSplit:
    """The stored features of one split, in the order of its shards.

    Ids, labels and weights are kept in memory, features are read by row group.

    Attributes:
        name: the name of the split.
        manifest: the manifest of all splits.
        facts: how the features were computed; see `tailproof.features.embed`.
        sample_ids: list of str [N].
        labels: int64 [N] for each taxonomic rank; -1 means no label.
        weight: float64 [N].
        layers: the width of each layer.
        width: the number of features of a sample, of all layers together.
        views: number of views of each sample.
        dtype: float32 or float16.
        groups: number of samples of each row group.
        paths: the files.
    """

    def __init__(self, folder: str | Path, manifest_path: str | Path, name: str) -> None:
        """Open the files.

        Args:
            folder: the folder of the features, ``features/KEY``.
            manifest_path: shards/manifest.json of an experiment.
            name: the name of the split.

        Raises:
            TailproofError: a file is missing or damaged, or its features are not those of the
                shards of the manifest.
        """
        self.name = name
        self.manifest: dict[str, Any] = read_json(manifest_path)
        shards = self.manifest["splits"][name]["shards"]
        self.paths = [str(part_path(folder, name, part)) for part in range(len(shards))]
        self.groups: list[int] = []
        self._where: list[tuple[int, int]] = []  # (file, row group in it) of each row group
        parts = []
        for number, (path, shard) in enumerate(zip(self.paths, shards, strict=True)):
            facts = table_metadata(path)
            self._check_shard(path, facts, shard, manifest_path)
            parts.append({key: facts[key] for key in facts if key != "shard_sha256"})
            footer = pq.ParquetFile(path).metadata
            self.groups += [
                footer.row_group(group).num_rows // facts["views"]
                for group in range(footer.num_row_groups)
            ]
            self._where += [(number, group) for group in range(footer.num_row_groups)]
        self.facts = parts[0]
        for path, facts in zip(self.paths, parts, strict=True):
            if facts != self.facts:
                other = next(key for key in facts if facts[key] != self.facts.get(key))
                raise TailproofError(
                    f"{path} and {self.paths[0]} differ in {other}, but are features of one split: "
                    f"{AGAIN}"
                )
        self.layers: dict[str, int] = dict(self.facts["layers"])
        self.width, self.views = sum(self.layers.values()), self.facts["views"]
        self.dtype = np.dtype(self.facts["dtype"])
        columns = ["sample_id", *self.manifest["ranks"], "weight"]
        table = pa.concat_tables([read_parquet(path, columns) for path in self.paths])
        table = table.take(pa.array(np.arange(0, len(table), self.views)))
        self.sample_ids: list[str] = table["sample_id"].to_pylist()
        self.weight = numbers(table["weight"])
        self.labels = {rank: numbers(table[rank]) for rank in self.manifest["ranks"]}
        self._files: dict[int, pq.ParquetFile] = {}

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files, which another process cannot use."""
        return {**self.__dict__, "_files": {}}

    @property
    def block_rows(self) -> int:
        """The number of samples that are shuffled together, which a reader can keep."""
        return max(1, BLOCK_BYTES // (self.views * self.width * self.dtype.itemsize))

    @property
    def size_in_memory(self) -> int:
        """The size of all features in bytes, as they are stored."""
        return len(self) * self.views * self.width * self.dtype.itemsize

    def read(self, group: int) -> np.ndarray:
        """Return the features of the samples of one row group, [rows, views, width] of `dtype`.

        Raises:
            TailproofError: the file is damaged.
        """
        number, inside = self._where[group]
        if number not in self._files:
            self._files[number] = pq.ParquetFile(self.paths[number], memory_map=True)
        try:
            table = self._files[number].read_row_group(
                inside, columns=list(self.layers), use_threads=False
            )
        except (pa.ArrowException, OSError) as error:
            place = f"{self.paths[number]}, row group {inside}"
            raise unreadable(place, error, AGAIN) from error
        rows = self.groups[group]
        features = np.empty((rows, self.views, self.width), self.dtype)
        start = 0
        for name, width in self.layers.items():
            values = table[name].combine_chunks().flatten().to_numpy()
            features[:, :, start : start + width] = values.reshape(rows, self.views, width)
            start += width
        return features

    def read_all(self) -> np.ndarray:
        """Return the features of all samples, [N, views, width] of `dtype`."""
        features = np.empty((len(self), self.views, self.width), self.dtype)
        for rows, values in self.blocks():
            features[rows] = values
        return features

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the rows of each row group and its features, one after the other."""
        starts = list(accumulate(self.groups, initial=0))
        for group in range(len(self.groups)):
            yield slice(starts[group], starts[group + 1]), self.read(group)

    def _check_shard(
        self, path: str, facts: dict[str, Any], shard: dict[str, Any], manifest: str | Path
    ) -> None:
        if facts.get("shard_sha256") != shard["sha256"]:
            raise TailproofError(
                f"{path} has the features of a shard other than {shard['path']} of "
                f"{manifest}: {AGAIN}"
            )
