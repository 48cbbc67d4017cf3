"""Logits files: the logits of an expert for every sample of a split, next to the labels.

An expert with one head, for the target rank, has the column `logits`. An expert with heads for
several ranks has the columns `logits_RANK`. A file may be larger than the memory: `LogitsFile`
reads it in blocks of rows, `write_logits` writes it so, and `Logits` has all of it in memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tailproof.data.tables import (
    numbers,
    read_batches,
    read_parquet,
    read_schema,
    with_metadata,
)
from tailproof.files import atomic
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

PREFIX = "logits_"
REQUIRED = ("expert", "seed", "split", "target", "weights_sha256")

BLOCK = 2**22
"""Logits of a block: 16 MB, or 32 MB in double precision."""

GROUP_LOGITS, GROUP_ROWS = 2**24, 2**16
"""Most logits and most rows of a row group of the file."""

FITTED = 2**26
"""Most logits, of all experts together, to fit a few numbers on: 256 MB. For more, samples are
chosen evenly; the error of the numbers is then already far below their effect."""

Block = dict[str, np.ndarray]
"""The logits of each rank for some rows, float32 [n, C]."""


class _OfTarget:
    """What follows from the labels and the metadata."""

    labels: dict[str, np.ndarray]
    metadata: dict[str, Any]

    @property
    def target(self) -> np.ndarray:
        """The N class indices at the target rank."""
        return self.labels[self.metadata["target"]]

    @property
    def temperature(self) -> float:
        """The temperature of the target; 1 before calibration."""
        return float(self.metadata.get("temperature", 1.0))


@dataclass(frozen=True)
class LabelledSamples(_OfTarget):
    """The samples of a split, without their logits.

    Attributes:
        sample_ids: N strings.
        labels: for each taxonomic rank N class indices; -1 means no label.
        weight: N weights, of mean 1, that give the split the long-tailed prior of train.
        metadata: expert, seed, split, target, weights_sha256. Calibrated logits also have the
            temperature of the target, and more of `tailproof.calibration.calibrated_logits`.
    """

    sample_ids: np.ndarray
    labels: dict[str, np.ndarray]
    weight: np.ndarray
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return len(self.sample_ids)


@dataclass(frozen=True)
class LogitsFile(LabelledSamples):
    """A logits file. Memory has its samples, and the logits of one block at a time.

    Attributes:
        path: the file.
        classes: number of classes of each learnt rank.
    """

    path: Path
    classes: dict[str, int]

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read and check all but the logits.

        Raises:
            TailproofError: the file is missing or damaged, lacks columns or metadata, or contains
                impossible weights or labels.
        """
        schema, metadata = read_schema(path)
        missing = [key for key in REQUIRED if key not in metadata]
        if missing:
            raise TailproofError(
                f"{path}: its metadata lack {', '.join(missing)}: run snakemake again with "
                "--forcerun infer"
            )
        target = metadata["target"]
        heads = _columns(schema.names, target)
        for name in ("sample_id", target, "weight", heads[target]):
            if name not in schema.names:
                raise TailproofError(
                    f"{path} has no column '{name}': run snakemake again with --forcerun infer"
                )
        classes = {rank: _list_size(path, schema.field(name)) for rank, name in heads.items()}
        ranks = [field.name for field in schema if pa.types.is_integer(field.type)]
        table = read_parquet(path, ["sample_id", "weight", *ranks])
        file = cls(
            sample_ids=np.array(table["sample_id"].to_pylist(), dtype=object),
            labels={rank: numbers(table[rank]) for rank in ranks},
            weight=numbers(table["weight"]).astype(np.float64),
            metadata=metadata,
            path=Path(path),
            classes=classes,
        )
        file._check()
        return file

    def blocks(self, *ranks: str) -> Iterator[tuple[slice, Block]]:
        """Yield row ranges and their logits, in order; of all ranks by default.

        Raises:
            TailproofError: the file is damaged, or a logit is not finite.
        """
        columns = _columns(self._names, self.metadata["target"])
        names = {rank: columns[rank] for rank in ranks or self.classes}
        size = max(1, BLOCK // sum(self.classes[rank] for rank in names))
        start = 0
        # Of files with as many classes, the blocks have the same rows.
        for block in _regrouped(self._batches(names, size), size):
            rows = slice(start, start + len(next(iter(block.values()))))
            yield rows, block
            start = rows.stop

    def _batches(self, names: Mapping[str, str], rows: int) -> Iterator[Block]:
        start = 0
        for batch in read_batches(self.path, list(names.values()), rows):
            yield {
                rank: self._matrix(name, batch[name], self.classes[rank], start)
                for rank, name in names.items()
            }
            start += len(batch)

    def take(self, rank: str, rows: np.ndarray) -> np.ndarray:
        """Return the logits of a rank for some rows, float32 [len(rows), C].

        Args:
            rank: the rank.
            rows: ascending row numbers.
        """
        values = np.empty((len(rows), self.classes[rank]), np.float32)
        for where, block in self.blocks(rank):
            first, last = np.searchsorted(rows, (where.start, where.stop))
            values[first:last] = block[rank][rows[first:last] - where.start]
        return values

    @property
    def _names(self) -> list[str]:
        target = self.metadata["target"]
        return ["logits"] if list(self.classes) == [target] else [PREFIX + r for r in self.classes]

    def _matrix(self, name: str, column: pa.Array, classes: int, start: int) -> np.ndarray:
        if column.null_count:
            raise _other_type(self.path, name, column.type, column.null_count)
        flat = numbers(column.flatten()).astype(np.float32, copy=False)
        values: np.ndarray = flat.reshape(len(column), classes)
        infinite = ~np.isfinite(values).all(axis=1)
        self._refuse(
            infinite,
            "a logit is not finite",
            "the training of the expert probably diverged; check its history.csv",
            start,
        )
        return values

    def _check(self) -> None:
        for rank, classes in self.classes.items():
            lowest = 0 if rank == self.metadata["target"] else -1
            self._refuse(
                (self.labels[rank] < lowest) | (self.labels[rank] >= classes),
                f"the class index is outside 0 to {classes - 1}",
                "the logits belong to other data; run snakemake again with --forcerun infer",
            )
        self._refuse(
            ~(np.isfinite(self.weight) & (self.weight >= 0)),
            "the weight is not a number of at least 0",
            "run snakemake again with --forcerun split",
        )
        seen: set[str] = set()
        if len(set(self.sample_ids)) < len(self):
            repeated = np.zeros(len(self), bool)
            for row, name in enumerate(self.sample_ids):
                repeated[row] = name in seen
                seen.add(name)
            self._refuse(
                repeated, "the sample occurs twice", "run snakemake again with --forcerun infer"
            )

    def _refuse(self, bad: np.ndarray, what: str, remedy: str, start: int = 0) -> None:
        if bad.any():
            row = start + int(np.flatnonzero(bad)[0])
            raise TailproofError(
                f"{self.path}, row {row} ({self.sample_ids[row]}): {what}: {remedy}"
            )


@dataclass(frozen=True)
class Logits(_OfTarget):
    """The logits of one expert on one split, in memory.

    Attributes:
        sample_ids, labels, weight, metadata: those of `LabelledSamples`.
        heads: for each learnt rank, float32 [N, C] with one column per class.
    """

    sample_ids: np.ndarray
    labels: dict[str, np.ndarray]
    weight: np.ndarray
    heads: dict[str, np.ndarray]
    metadata: dict[str, Any]

    @property
    def values(self) -> np.ndarray:
        """The logits of the target rank, [N, C]."""
        return self.heads[self.metadata["target"]]

    def write(self, path: str | Path) -> None:
        """Write the parquet file, whole or not at all."""
        samples = LabelledSamples(self.sample_ids, self.labels, self.weight, self.metadata)
        classes = {rank: head.shape[1] for rank, head in self.heads.items()}
        write_logits(path, samples, classes, [self.heads])

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read and check a logits file.

        Raises:
            TailproofError: the file is missing or damaged, lacks columns or metadata, or contains
                impossible logits, weights or labels.
        """
        file = LogitsFile.open(path)
        heads = {
            rank: np.empty((len(file), classes), np.float32)
            for rank, classes in file.classes.items()
        }
        for rows, block in file.blocks():
            for rank, values in block.items():
                heads[rank][rows] = values
        return cls(file.sample_ids, file.labels, file.weight, heads, file.metadata)


def fitted_rows(samples: int, logits: int) -> np.ndarray:
    """Return the rows to fit a few numbers on: all of them, or as many as `FITTED` allows.

    Args:
        samples: number of rows to choose from.
        logits: number of logits of a row.
    """
    count = min(samples, max(1, FITTED // logits))
    return np.linspace(0, samples - 1, count).astype(int) if count else np.empty(0, int)


def write_logits(
    path: str | Path, samples: LabelledSamples, classes: Mapping[str, int], blocks: Iterable[Block]
) -> None:
    """Write a logits file, whole or not at all, with one row group in memory.

    The numbers are stored by byte (BYTE_STREAM_SPLIT), which zstd compresses by 15 %, and not by
    7 % as whole ones.

    Args:
        path: the file.
        samples: its samples.
        classes: number of classes of each rank.
        blocks: the logits of all samples, in order.
    """
    names = {rank: "logits" if len(classes) == 1 else f"{PREFIX}{rank}" for rank in classes}
    fields = [("sample_id", pa.string()), *((rank, pa.int64()) for rank in samples.labels)]
    fields += [("weight", pa.float64())]
    others = [name for name, _ in fields]
    fields += [(name, pa.list_(pa.float32(), classes[rank])) for rank, name in names.items()]
    schema = with_metadata(pa.schema(fields).empty_table(), samples.metadata).schema
    size = min(GROUP_ROWS, max(1, GROUP_LOGITS // max(1, sum(classes.values()))))
    start = 0
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=others,
            write_statistics=others,
            column_encoding={
                f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in names.values()
            },
        ) as writer,
    ):
        for block in _regrouped(blocks, size):
            rows = slice(start, start + len(next(iter(block.values()))))
            columns = {"sample_id": pa.array(samples.sample_ids[rows], pa.string())}
            for rank, labels in samples.labels.items():
                columns[rank] = pa.array(labels[rows], pa.int64(), mask=labels[rows] < 0)
            columns["weight"] = pa.array(samples.weight[rows], pa.float64())
            for rank, name in names.items():
                flat = pa.array(block[rank].astype(np.float32, copy=False).ravel())
                columns[name] = pa.FixedSizeListArray.from_arrays(flat, classes[rank])
            writer.write_table(pa.table(columns, schema=schema), row_group_size=size)
            start = rows.stop
    if start != len(samples):
        raise ValueError(
            f"{path}: expected logits of {len(samples)} samples, found those of {start}"
        )


def _regrouped(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Yield the same rows in blocks of `size`, the last one shorter."""
    kept: list[Block] = []
    count = 0
    for block in blocks:
        rows = len(next(iter(block.values())))
        start = 0
        while start < rows:
            stop = min(rows, start + size - count)
            kept.append({rank: values[start:stop] for rank, values in block.items()})
            count, start = count + stop - start, stop
            if count == size:
                yield _joined(kept)
                kept, count = [], 0
    if kept:
        yield _joined(kept)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    return {rank: np.concatenate([block[rank] for block in blocks]) for rank in blocks[0]}


def _columns(names: list[str], target: str) -> dict[str, str]:
    """Return the logits column of each rank; that of the target even if it does not exist."""
    if "logits" in names:
        return {target: "logits"}
    ranks = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    return {rank: f"{PREFIX}{rank}" for rank in ranks} or {target: "logits"}


def _list_size(path: str | Path, field: pa.Field) -> int:
    if not pa.types.is_fixed_size_list(field.type):
        raise _other_type(path, field.name, field.type, 0)
    return field.type.list_size


def _other_type(path: str | Path, name: str, kind: pa.DataType, nulls: int) -> TailproofError:
    return TailproofError(
        f"{path}: its column '{name}' has the type {kind} and {quantity(nulls, 'null')}, expected "
        "fixed_size_list<float>[classes] without nulls: run snakemake again with --forcerun infer"
    )
