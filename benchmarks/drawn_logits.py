"""Experts that were never trained: their logits are drawn, in the files that the stages read."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tailproof.config.splits import SPLITS
from tailproof.data.images import encode_png
from tailproof.data.tables import read_parquet, write_parquet
from tailproof.files import write_json
from tailproof.predict.raw_logits import write_raw_logits

EXPERTS = ("plain", "balanced", "adjusted")
IMAGES = 512
WIDTH = 64
BLOCK = 2**22


def split_sizes(train: int, test: int) -> dict[str, int]:
    """Return the samples of each split, in the proportions of the default configuration."""
    held, part = train // 8, test // 8
    return dict(zip(SPLITS, (train, held, held, part, part, test), strict=True))


def write_collection(folder: Path, classes: int, sizes: dict[str, int]) -> None:
    """Write samples.parquet, shards with images of 8x8 pixels, and the manifest.

    The classes of train fall off as in nature, in three ranks and groups of up to five samples.
    """
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, classes + 1)
    labels = {split: draw_labels(rng, share, rows) for split, rows in sizes.items()}
    counts = {split: np.bincount(own, minlength=classes) for split, own in labels.items()}
    names = {
        "family": [f"family {index}" for index in range(max(classes // 50, 1))],
        "genus": [f"genus {index}" for index in range(max(classes // 5, 1))],
        "species": [f"species {index}" for index in range(classes)],
    }
    above = {rank: np.arange(classes) % len(found) for rank, found in names.items()}
    ids = {
        split: np.char.add(f"{split}/", np.arange(rows).astype(str))
        for split, rows in sizes.items()
    }
    groups = {split: _groups(rng, own, split) for split, own in labels.items()}
    every = np.concatenate([ids[split] for split in SPLITS])
    write_parquet(
        folder / "samples.parquet",
        pa.table(
            {
                "sample_id": every,
                "group": np.concatenate([groups[split] for split in SPLITS]),
                "path": every,
                "row": pa.nulls(len(every), pa.int64()),
            }
        ),
    )
    images = [encode_png(rng.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(IMAGES)]
    for split in SPLITS:
        _write_shard(
            folder / "shards" / split / "part-00000.parquet",
            ids[split],
            labels[split],
            above,
            images,
        )
    write_json(
        folder / "shards" / "manifest.json",
        {
            "target": "species",
            "mode": "RGB",
            "positive": None,
            "ranks": list(names),
            "classes": names,
            "ancestors": {"species": {rank: above[rank].tolist() for rank in ("family", "genus")}},
            "splits": {
                split: {
                    "rows": rows,
                    "class_counts": {
                        "species": dict(zip(names["species"], counts[split].tolist(), strict=True))
                    },
                    "shards": [{"path": f"{split}/part-00000.parquet"}],
                }
                for split, rows in sizes.items()
            },
        },
    )


def draw_labels(rng: np.random.Generator, share: np.ndarray, rows: int) -> np.ndarray:
    """Return class indices, of which each class has at least one if the rows suffice."""
    labels = rng.choice(len(share), rows, p=share / share.sum())
    labels[: len(share)] = np.arange(len(share))[:rows]
    return rng.permutation(labels)


def _groups(rng: np.random.Generator, labels: np.ndarray, split: str) -> np.ndarray:
    """Return groups of up to five samples of one class."""
    within = np.empty(len(labels), int)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    within[order] = np.arange(len(labels)) - np.repeat(
        starts, np.diff(np.append(starts, len(labels)))
    )
    names = np.char.add(f"{split}/", labels.astype(str))
    return np.char.add(
        np.char.add(names, "-"), (within // rng.integers(1, 6, len(labels))).astype(str)
    )


def _write_shard(path: Path, ids, labels, above, images) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    data = pa.array([images[row % len(images)] for row in range(len(ids))], pa.binary())
    columns = {
        "sample_id": pa.array(ids, pa.string()),
        "image": pa.StructArray.from_arrays(
            [data, pa.nulls(len(ids), pa.string())], fields=list(image)
        ),
        **{rank: pa.array(of_class[labels], pa.int64()) for rank, of_class in above.items()},
    }
    write_parquet(path, pa.table(columns), row_group_size=1024)


class Drawn(NamedTuple):
    """A collection of drawn logits.

    Attributes:
        classes: number of classes.
        sizes: samples of each split.
    """

    classes: int
    sizes: dict[str, int]


def raw_of(folder: Path, expert: str) -> Path:
    """Return the folder of an expert's raw logits."""
    return folder / "experts" / expert / "seed-0" / "raw_logits"


def write_expert(drawn: Drawn, folder: Path, expert: str, splits: Iterable[str]) -> None:
    """Write raw logits as the stage infer does: those of a linear head on drawn features."""
    rng = np.random.default_rng(EXPERTS.index(expert))
    means = np.random.default_rng(0).normal(size=(drawn.classes, WIDTH)).astype(np.float32)
    weights = means + 0.3 * rng.standard_normal(means.shape, np.float32)
    facts = {"expert": expert, "seed": 0, "target": "species", "weights_sha256": "0" * 64}
    for split in splits:
        shard = folder / "shards" / split / "part-00000.parquet"
        table = read_parquet(shard, ["sample_id", "family", "genus", "species"])
        labels = {rank: table[rank].to_numpy() for rank in table.column_names[1:]}
        share = np.bincount(labels["species"], minlength=drawn.classes) + 0.5
        weight = 1 / share[labels["species"]]
        rows = SimpleNamespace(
            name=split,
            sample_ids=table["sample_id"].to_pylist(),
            labels=labels,
            weight=weight / weight.mean(),
        )
        blocks = _logits(rng, labels["species"], means, weights)
        write_raw_logits(raw_of(folder, expert), rows, blocks, {"species": drawn.classes}, facts)


def _logits(rng, labels, means, weights) -> Iterator[np.ndarray]:
    step = max(1, BLOCK // len(weights))
    for start in range(0, len(labels), step):
        own = means[labels[start : start + step]]
        features = own + 1.4 * rng.standard_normal(own.shape, np.float32)
        yield 0.25 * features @ weights.T
