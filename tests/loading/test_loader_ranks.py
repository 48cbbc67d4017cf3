"""Exactly as drawn, whatever the shards, row groups, ranks, workers, batches and resume points."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tailproof.config.augmentation import Augmentation
from tailproof.data.images import encode_png
from tailproof.files import write_json
from tailproof.loading import Loader, Split
from tailproof.runtime.errors import TailproofError

POLICY = Augmentation(crop_padding=1, flip=True)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [("sample_id", pa.string()), ("image", IMAGE), ("class", pa.int64()), ("weight", pa.float64())]
)
PNG = [encode_png(np.full((2, 2), value, np.uint8)) for value in range(256)]


def write_shards(folder: Path, shards: list[list[int]]) -> Path:
    """Write a split ``train`` with these rows in these row groups of these shards."""
    listed, row = [], 0
    for number, groups in enumerate(shards):
        path = folder / "shards" / "train" / f"part-{number:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = range(row, row + sum(groups))
        row += sum(groups)
        table = pa.table(
            {
                "sample_id": [f"s{r}" for r in rows],
                "image": [{"bytes": PNG[r % 256], "path": None} for r in rows],
                "class": [r % 3 for r in rows],
                "weight": [1.0] * len(rows),
            },
            SCHEMA,
        )
        with pq.ParquetWriter(path, table.schema) as writer:
            for start, size in zip(np.cumsum([0, *groups]), groups, strict=False):
                writer.write_table(table.slice(int(start), size))
        listed.append(
            {"path": f"train/{path.name}", "rows": len(rows), "bytes": path.stat().st_size}
        )
    manifest = {
        "target": "class",
        "ranks": ["class"],
        "classes": {"class": ["a", "b", "c"]},
        "mode": "L",
        "bands": 1,
        "height": 2,
        "width": 2,
        "normalization": {"mean": [0.5], "std": [0.5]},
        "splits": {"train": {"rows": row, "shards": listed}},
    }
    write_json(folder / "shards" / "manifest.json", manifest)
    return folder / "shards" / "manifest.json"


def of_all_ranks(split, world, epoch, first, **options):
    """Return the batches that `world` processes get, each as the rows that count and images."""
    shares = []
    lengths = set()
    for rank in range(world):
        # No process knows what the others delivered: the sum is taken below.
        counts = []
        found = Loader(
            split,
            rank=rank,
            world=world,
            total=lambda own, to=counts: to.append(own) or ORDER[0],
            **options,
        )
        ORDER[0] = torch.from_numpy(
            np.bincount(found.order(epoch)[(first - 1) * found.batch_size :], minlength=len(split))
        )
        batches = list(found.epoch(epoch, first))
        lengths |= {(len(batches), tuple(len(batch.rows) for batch in batches))}
        assert len(batches) == len(found) - first + 1
        shares.append((batches, counts[0]))
    assert len(lengths) == 1, "every process gets batches of the same sizes"
    total = sum(counts for _, counts in shares)
    assert torch.equal(total, ORDER[0]), "together they deliver each sample as often as drawn"
    return [
        [
            (row, image)
            for batch in step
            for row, image in zip(batch.rows[: batch.real], batch.inputs[: batch.real], strict=True)
        ]
        for step in zip(*(batches for batches, _ in shares), strict=True)
    ]


ORDER: list[torch.Tensor] = [torch.zeros(0)]

SHARDS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=4)


@settings(max_examples=60)
@given(
    shards=SHARDS,
    batch_size=st.integers(1, 40),
    worlds=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    workers=st.sampled_from([0, 0, 0, 0, 1, 2]),
    resident=st.booleans(),
    sampler=st.sampled_from([None, "instance", "class_aware", "square_root"]),
    drop=st.booleans(),
    data=st.data(),
)
def test_each_sample_as_often_as_drawn_on_any_ranks_from_any_point(
    shards, batch_size, worlds, workers, resident, sampler, drop, data
):
    """One process delivers an epoch; others, of another number, take it up at any batch."""
    with tempfile.TemporaryDirectory() as folder:
        split = Split(write_shards(Path(folder), shards), "train")
        batch_size = min(batch_size, len(split)) if drop else batch_size
        options = {
            "batch_size": batch_size,
            "image_size": None,
            "normalization": split.manifest["normalization"],
            "augmentation": POLICY if sampler else None,
            "sampler": sampler or "instance",
            "drop_last": drop,
            "memory_budget": 2**20 if resident else 0,
        }
        alone = of_all_ranks(split, 1, 2, 1, **options)
        first = data.draw(st.integers(1, len(alone) + 1))
        for world in worlds:
            shared = of_all_ranks(split, world, 2, first, workers=workers, **options)
            assert len(shared) == len(alone) - first + 1
            for ours, theirs in zip(shared, alone[first - 1 :], strict=True):
                assert [row for row, _ in ours] == [row for row, _ in theirs]
                assert all(torch.equal(a, b) for (_, a), (_, b) in zip(ours, theirs, strict=True))


def small(tmp_path, shards, **options):
    split = Split(write_shards(tmp_path, shards), "train")
    defaults = {
        "batch_size": 4,
        "image_size": None,
        "normalization": split.manifest["normalization"],
        "augmentation": POLICY,
    }
    return Loader(split, **{**defaults, **options})


def test_more_workers_than_row_groups_deliver_each_sample_once(tmp_path):
    found = small(tmp_path, [[5]], workers=3)
    assert sorted(np.concatenate([batch.rows for batch in found.epoch(1)])) == list(range(5))


def test_a_batch_larger_than_the_split_is_the_split(tmp_path):
    (batch,) = small(tmp_path, [[5]], batch_size=100).epoch(1)
    assert sorted(batch.rows) == list(range(5)) and batch.size == batch.real == 5


def test_an_empty_split_is_told(tmp_path):
    with pytest.raises(TailproofError, match=r"train is empty.*data.splits"):
        small(tmp_path, [[]])


@pytest.mark.parametrize("sampler", ["instance", "class_aware"])
def test_a_sample_missed_or_seen_twice_stops_the_run(tmp_path, sampler):
    """As if another process had delivered the share of this one, and none that of the other."""
    found = small(tmp_path, [[9]], world=2, rank=0, total=lambda own: 2 * own, sampler=sampler)
    with pytest.raises(TailproofError, match=r"epoch 1,.* 9 samples of train"):
        list(found.epoch(1))
