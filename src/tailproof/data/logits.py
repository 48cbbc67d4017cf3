"""Logits files: the logits of an expert for every sample of a split, next to the labels.

An expert with one head, for the target rank, has the column `logits`. An expert with heads for
several ranks has the columns `logits_RANK`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tailproof.data.tables import read_parquet, table_metadata, with_metadata, write_parquet
from tailproof.runtime.errors import TailproofError

PREFIX = "logits_"
REQUIRED = ("expert", "seed", "split", "target", "weights_sha256")


@dataclass(frozen=True)
class Logits:
    """The logits of one expert on one split.

    Attributes:
        sample_ids: N strings.
        labels: for each taxonomic rank N class indices; -1 means no label.
        weight: N weights, of mean 1, that give the split the long-tailed prior of train.
        heads: for each learnt rank, float32 [N, C] with one column per class.
        metadata: expert, seed, split, target, weights_sha256. Calibrated logits also have the
            temperature of the target, and more of `tailproof.calibration.calibrated_logits`.
    """

    sample_ids: np.ndarray
    labels: dict[str, np.ndarray]
    weight: np.ndarray
    heads: dict[str, np.ndarray]
    metadata: dict[str, Any]

    @property
    def target(self) -> np.ndarray:
        """The N class indices at the target rank."""
        return self.labels[self.metadata["target"]]

    @property
    def values(self) -> np.ndarray:
        """The logits of the target rank, [N, C]."""
        return self.heads[self.metadata["target"]]

    @property
    def temperature(self) -> float:
        """The temperature of the target; 1 before calibration."""
        return float(self.metadata.get("temperature", 1.0))

    def write(self, path: str | Path) -> None:
        """Write the parquet file, whole or not at all."""
        columns: dict[str, pa.Array] = {"sample_id": pa.array(self.sample_ids, pa.string())}
        for rank, labels in self.labels.items():
            columns[rank] = pa.array(labels, pa.int64(), mask=labels < 0)
        columns["weight"] = pa.array(self.weight, pa.float64())
        for rank, head in self.heads.items():
            name = "logits" if len(self.heads) == 1 else f"{PREFIX}{rank}"
            values = np.ascontiguousarray(head, dtype=np.float32)
            columns[name] = pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
        write_parquet(path, with_metadata(pa.table(columns), self.metadata))

    @classmethod
    def read(cls, path: str | Path) -> "Logits":
        """Read and check a logits file.

        Raises:
            TailproofError: the file is missing or damaged, lacks columns or metadata, or contains
                impossible logits, weights or labels.
        """
        table = read_parquet(path)
        metadata = table_metadata(path)
        missing = [key for key in REQUIRED if key not in metadata]
        if missing:
            raise TailproofError(f"{path}: its metadata lack {', '.join(missing)}: run infer again")
        target = metadata["target"]
        heads = _columns(table.column_names, target)
        for name in ("sample_id", target, "weight", heads[target]):
            if name not in table.column_names:
                raise TailproofError(f"{path} has no column '{name}': run infer again")
        logits = cls(
            sample_ids=table["sample_id"].to_numpy(),
            labels={
                field.name: table[field.name].fill_null(-1).to_numpy()
                for field in table.schema
                if pa.types.is_integer(field.type)
            },
            weight=table["weight"].to_numpy().astype(np.float64),
            heads={rank: _matrix(path, name, table[name]) for rank, name in heads.items()},
            metadata=metadata,
        )
        _check(path, logits)
        return logits


def _columns(names: list[str], target: str) -> dict[str, str]:
    """Return the logits column of each rank; that of the target even if it does not exist."""
    if "logits" in names:
        return {target: "logits"}
    ranks = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    return {rank: f"{PREFIX}{rank}" for rank in ranks} or {target: "logits"}


def _matrix(path: str | Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    if not pa.types.is_fixed_size_list(kind) or column.null_count:
        raise TailproofError(
            f"{path}: its column '{name}' has the type {kind} and {column.null_count} nulls, "
            "expected fixed_size_list<float>[classes] without nulls: run infer again"
        )
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate(flat) if flat else np.empty(0, np.float32)
    return flat.astype(np.float32, copy=False).reshape(len(column), kind.list_size)


def _check(path: str | Path, logits: Logits) -> None:
    def refuse(bad: np.ndarray, what: str, remedy: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise TailproofError(f"{path}, row {row} ({logits.sample_ids[row]}): {what}: {remedy}")

    for rank, values in logits.heads.items():
        refuse(
            ~np.isfinite(values).all(axis=1),
            "a logit is not finite",
            "the expert diverged, look at its history.csv",
        )
        classes, lowest = values.shape[1], 0 if rank == logits.metadata["target"] else -1
        refuse(
            (logits.labels[rank] < lowest) | (logits.labels[rank] >= classes),
            f"the class index is outside 0 to {classes - 1}",
            "run infer again, the logits are of other data",
        )
    refuse(
        ~(np.isfinite(logits.weight) & (logits.weight >= 0)),
        "the weight is not a number of at least 0",
        "run split and infer again",
    )
    repeated = np.ones(len(logits.sample_ids), bool)
    repeated[np.unique(logits.sample_ids.astype(str), return_index=True)[1]] = False
    refuse(repeated, "the sample occurs twice", "run infer again")
