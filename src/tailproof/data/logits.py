"""Logits files: what an expert says of every sample of a split, with the labels beside it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tailproof.core.errors import TailproofError
from tailproof.core.files import read_parquet, table_metadata, with_metadata, write_parquet

REQUIRED = ("expert", "seed", "split", "target", "weights_sha256")


@dataclass(frozen=True)
class Logits:
    """The logits of one expert on one split.

    Attributes:
        sample_ids: N strings.
        labels: for each taxonomic rank the N class indices.
        weight: N weights that give the split the long-tailed prior of the training pool (mean 1).
        values: float32 [N, C], one column a class of the target rank.
        metadata: expert, seed, split, target, weights_sha256; temperature once calibrated.
    """

    sample_ids: np.ndarray
    labels: dict[str, np.ndarray]
    weight: np.ndarray
    values: np.ndarray
    metadata: dict[str, Any]

    @property
    def target(self) -> np.ndarray:
        """The N class indices at the target rank."""
        return self.labels[self.metadata["target"]]

    @property
    def temperature(self) -> float:
        """What the raw logits were divided by: 1 before calibration."""
        return float(self.metadata.get("temperature", 1.0))

    def cooled(self, temperature: float) -> "Logits":
        """Return these logits divided by a temperature, which their metadata then name."""
        values = (self.values / np.float64(temperature)).astype(np.float32)
        metadata = {**self.metadata, "temperature": float(temperature)}
        return replace(self, values=values, metadata=metadata)

    def write(self, path: str | Path) -> None:
        """Write the parquet file, whole or not at all."""
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        columns: dict[str, pa.Array] = {"sample_id": pa.array(self.sample_ids, pa.string())}
        for rank, labels in self.labels.items():
            columns[rank] = pa.array(labels, pa.int64())
        columns["weight"] = pa.array(self.weight, pa.float64())
        columns["logits"] = pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
        write_parquet(path, with_metadata(pa.table(columns), self.metadata))

    @classmethod
    def read(cls, path: str | Path) -> "Logits":
        """Read and check a logits file.

        Raises:
            TailproofError: the file is missing or damaged, lacks columns or metadata, or holds
                logits, weights or labels that cannot be.
        """
        table = read_parquet(path)
        metadata = table_metadata(path)
        missing = [key for key in REQUIRED if key not in metadata]
        if missing:
            raise TailproofError(f"{path}: its metadata lack {', '.join(missing)}; run infer again")
        for name in ("sample_id", metadata["target"], "weight", "logits"):
            if name not in table.column_names:
                raise TailproofError(f"{path} has no column '{name}'; run infer again")
        logits = cls(
            sample_ids=table["sample_id"].to_numpy(),
            labels={
                field.name: table[field.name].to_numpy()
                for field in table.schema
                if pa.types.is_integer(field.type)
            },
            weight=table["weight"].to_numpy().astype(np.float64),
            values=_matrix(path, table["logits"]),
            metadata=metadata,
        )
        _check(path, logits)
        return logits


def _matrix(path: str | Path, column: pa.ChunkedArray) -> np.ndarray:
    kind = column.type
    if not pa.types.is_fixed_size_list(kind) or column.null_count:
        raise TailproofError(
            f"{path}: its column 'logits' is {kind} with {column.null_count} nulls, expected "
            "fixed_size_list<float>[classes] without; run infer again"
        )
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    flat = np.concatenate(flat) if flat else np.empty(0, np.float32)
    return flat.astype(np.float32, copy=False).reshape(len(column), kind.list_size)


def _check(path: str | Path, logits: Logits) -> None:
    def refuse(bad: np.ndarray, what: str, remedy: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise TailproofError(f"{path}, row {row} ({logits.sample_ids[row]}): {what}; {remedy}")

    labels, classes = logits.target, logits.values.shape[1]
    if not np.issubdtype(labels.dtype, np.integer):
        raise TailproofError(f"{path}: its column '{logits.metadata['target']}' has empty rows")
    refuse(
        ~np.isfinite(logits.values).all(axis=1),
        "a logit is not finite",
        "the expert diverged: look at its history.csv",
    )
    refuse(
        (labels < 0) | (labels >= classes),
        f"the class index is outside 0 to {classes - 1}",
        "the logits belong to other data: run infer again",
    )
    refuse(
        ~(np.isfinite(logits.weight) & (logits.weight >= 0)),
        "the weight is no number from 0 on",
        "run split and infer again",
    )
    repeated = np.ones(len(labels), bool)
    repeated[np.unique(logits.sample_ids.astype(str), return_index=True)[1]] = False
    refuse(repeated, "the sample stands twice", "run infer again")
