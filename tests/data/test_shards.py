import hashlib
import io
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from tailproof.config.data import Data
from tailproof.config.splits import SPLITS
from tailproof.data import shards
from tailproof.data.images import decode
from tailproof.data.manifest import _positive
from tailproof.data.shard_check import verify
from tailproof.data.shards import shard
from tailproof.data.tables import read_parquet
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError
from tests.conftest import DIGITS, build_data


def test_manifest_tells_rows_digests_and_counts(digits):
    manifest = read_json(digits)
    splits = read_parquet(digits.parent.parent / "splits.parquet").to_pandas()
    for split in SPLITS:
        facts = manifest["splits"][split]
        assert facts["rows"] == (splits["split"] == split).sum()
        tables = []
        for part in facts["shards"]:
            path = digits.parent / part["path"]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == part["sha256"]
            tables.append(pd.read_parquet(path))
            assert len(tables[-1]) == part["rows"]
        table = pd.concat(tables)
        assert set(table["sample_id"]) == set(splits["sample_id"][splits["split"] == split])
        counts = table["class"].value_counts()
        names = manifest["classes"]["class"]
        assert facts["class_counts"]["class"] == {
            name: counts.get(code, 0) for code, name in enumerate(names)
        }


def test_normalization_is_that_of_the_training_pixels(digits):
    manifest = read_json(digits)
    pixels = np.concatenate(
        [
            np.stack([decode(image["bytes"], "L") for image in pd.read_parquet(path)["image"]])
            for path in sorted((digits.parent / "train").glob("*.parquet"))
        ]
    )
    assert manifest["normalization"]["mean"] == pytest.approx([pixels.mean() / 255], abs=1e-6)
    assert manifest["normalization"]["std"] == pytest.approx([pixels.std() / 255], abs=1e-6)


def test_hugging_face_datasets_shows_the_pictures(digits, tmp_path):
    files = sorted(str(path) for path in (digits.parent / "dev").glob("*.parquet"))
    dataset = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    first = dataset[0]
    assert isinstance(first["image"], Image.Image) and first["image"].size == (8, 8)
    assert dataset.features["class"].names == [str(digit) for digit in range(10)]
    raw = pd.read_parquet(files[0]).iloc[0]
    assert first["sample_id"] == raw["sample_id"] and first["class"] == raw["class"]
    stored = np.asarray(Image.open(io.BytesIO(raw["image"]["bytes"])))
    assert (np.asarray(first["image"]) == stored).all()


def test_a_second_run_gives_the_same_bytes(digits, tmp_path):
    again = build_data(Data(**DIGITS), tmp_path)
    first = sorted(p for p in digits.parent.parent.rglob("*") if p.is_file())
    second = sorted(p for p in again.parent.parent.rglob("*") if p.is_file())
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert len(first) == 6 + 1 + 6 * 2 * 2


def test_large_images_make_smaller_row_groups(digits, tmp_path, monkeypatch):
    folder = digits.parent.parent
    inputs = (folder / "samples.parquet", folder / "splits.parquet", Data(**DIGITS), "train", 0)
    monkeypatch.setattr(shards, "GROUP_BYTES", 3000)
    shard(*inputs, tmp_path / "part.parquet", tmp_path / "facts.json")
    (own, *_) = read_json(digits)["splits"]["train"]["shards"]
    usual = pq.ParquetFile(digits.parent / own["path"])
    small = pq.ParquetFile(tmp_path / "part.parquet")
    assert small.read().equals(usual.read())
    sizes = []
    for number in range(small.num_row_groups):
        images = small.read_row_group(number)["image"].to_pylist()
        sizes.append([len(image["bytes"]) for image in images])
    assert all(sum(group[:-1]) < 3000 <= sum(group) for group in sizes[:-1])
    assert len(sizes) > 3 > usual.num_row_groups


def test_more_parts_than_samples_is_told(digits, tmp_path):
    folder = digits.parent.parent
    config = Data(**{**DIGITS, "shards_per_split": 60})
    with pytest.raises(TailproofError, match=r"60.*data\.shards_per_split"):
        shard(
            folder / "samples.parquet",
            folder / "splits.parquet",
            config,
            "val",
            50,
            tmp_path / "part.parquet",
            tmp_path / "part.json",
        )
    assert not list(tmp_path.iterdir())


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-9]),
            r"has \d+ bytes, expected \d+",
        ),
        (flip_a_bit, r"is not .*SHA-256 differs"),
    ],
    ids=["missing", "truncated", "another"],
)
def test_harmed_shards_are_told(digits, tmp_path, harm, message):
    shutil.copytree(digits.parent, tmp_path / "shards")
    manifest = tmp_path / "shards" / "manifest.json"
    verify(manifest, *SPLITS)
    path = tmp_path / "shards" / "val" / "part-00001.parquet"
    harm(path)
    verify(manifest, "train")
    with pytest.raises(TailproofError, match=f"^{path} {message}"):
        verify(manifest, "train", "val")


@pytest.mark.parametrize(
    ("named", "counts", "expected"),
    [
        (None, {"a": 5, "b": 9}, "a"),
        (None, {"a": 9, "b": 5}, "b"),
        (None, {"a": 5, "b": 5}, "b"),
        ("a", {"a": 9, "b": 5}, "a"),
        (None, {"a": 1, "b": 2, "c": 3}, None),
    ],
)
def test_the_positive_class_is_the_named_or_the_rarer(named, counts, expected):
    assert _positive(named, counts) == expected


@pytest.mark.parametrize(
    ("named", "counts", "message"),
    [
        ("lense", {"lens": 1, "star": 2}, r"'lense' \(did you mean 'lens'\?\); known: lens, star"),
        ("a", {"a": 1, "b": 2, "c": 3}, "data.positive_class is 'a'.* 3 classes"),
    ],
)
def test_a_positive_class_that_cannot_be_is_told(named, counts, message):
    with pytest.raises(TailproofError, match=message):
        _positive(named, counts)
