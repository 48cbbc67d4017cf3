import errno
import logging
import os
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tailproof.config.data import Data
from tailproof.data import prepare as module
from tailproof.data.images import encode_png
from tailproof.data.prepare import prepare
from tailproof.data.sources.cifar import CifarSource
from tailproof.data.sources.idx import NAMES
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.runtime.errors import TailproofError

DIGITS = Data(source={"name": "digits"})


def folder(root: Path, **options) -> Data:
    return Data(source={"name": "image_folder", "root": str(root), **options})


def write(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode_png(image))


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_the_columns_are_the_contract(tmp_path):
    output = tmp_path / "results" / "samples.parquet"
    prepare(DIGITS, output)
    table = read_parquet(output)
    text = pa.string()
    assert [(field.name, field.type) for field in table.schema] == [
        ("sample_id", text),
        ("digest", text),
        ("group", text),
        ("pool", text),
        ("class", text),
        ("path", text),
        ("row", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
    assert table_metadata(output) == {
        "ranks": ["class"],
        "classes": {"class": [str(digit) for digit in range(10)]},
        "mode": "L",
        "bands": 1,
    }
    rows = table.to_pandas()
    assert rows["sample_id"].is_unique
    assert (rows["group"] == rows["sample_id"]).all()
    assert rows["pool"].isna().all()
    assert rows["row"].tolist() == list(range(1797))
    assert set(rows["height"]) == set(rows["width"]) == {8}


def test_two_runs_give_the_same_bytes_wherever_they_lie(tmp_path):
    written = []
    for name in ("one", "two"):
        root = tmp_path / name / "raw"
        for index in range(5):
            write(root / f"class{index % 2}" / f"{index}.png", noise(index, 4, 5, 3))
        prepare(folder(root), tmp_path / name / "samples.parquet")
        written.append((tmp_path / name / "samples.parquet").read_bytes())
    assert written[0] == written[1]
    assert str(tmp_path).encode() not in written[0]


@pytest.mark.parametrize("batch", [1, 4, 5, 100])
def test_the_size_of_a_batch_changes_nothing(tmp_path, monkeypatch, batch):
    for index in range(5):
        write(tmp_path / "raw" / "cat" / f"{index}.png", noise(index, 4, 5))
    prepare(folder(tmp_path / "raw"), tmp_path / "whole.parquet")
    monkeypatch.setattr(module, "BATCH", batch)
    prepare(folder(tmp_path / "raw"), tmp_path / "batched.parquet")
    assert read_parquet(tmp_path / "batched.parquet").equals(
        read_parquet(tmp_path / "whole.parquet"), check_metadata=True
    )


def test_copies_share_a_digest_in_any_file_and_mode(tmp_path):
    grey = noise(0, 6, 4)
    write(tmp_path / "raw/train/cat/grey.png", grey)
    write(tmp_path / "raw/train/owl/as_rgb.png", np.stack([grey] * 3, axis=-1))
    write(tmp_path / "raw/train/owl/other.png", grey[::-1])
    write(tmp_path / "raw/test/owl/colour.png", noise(1, 9, 7, 3))
    config = folder(tmp_path / "raw", train="train", test="test")
    prepare(config, tmp_path / "samples.parquet")
    rows = read_parquet(tmp_path / "samples.parquet").to_pandas().set_index("sample_id")
    assert rows.loc["train/cat/grey.png", "digest"] == rows.loc["train/owl/as_rgb.png", "digest"]
    assert rows["digest"].nunique() == 3
    assert rows["pool"].tolist() == ["train", "train", "train", "held_out"]
    assert rows["row"].isna().all()
    assert rows[["height", "width"]].to_numpy().tolist() == [[6, 4]] * 3 + [[9, 7]]
    assert table_metadata(tmp_path / "samples.parquet")["mode"] == "RGB"


def test_pictures_without_any_colour_make_the_mode_l(tmp_path):
    write(tmp_path / "raw/cat/grey.png", noise(0, 6, 4))
    write(tmp_path / "raw/cat/as_rgb.png", np.stack([noise(1, 6, 4)] * 3, axis=-1))
    prepare(folder(tmp_path / "raw"), tmp_path / "samples.parquet")
    assert table_metadata(tmp_path / "samples.parquet")["mode"] == "L"


def write_cifar100(root: Path) -> Data:
    labels = np.array([[4, 0], [1, 1]], np.uint8)  # superclass and class of two images
    for seed, part in enumerate(("train", "test")):
        records = np.column_stack([labels, noise(seed, 2, 3072)])
        (root / f"{part}.bin").write_bytes(records.tobytes())
    return Data(source={"name": "cifar100", "format": "binary", "root": str(root)})


def test_ranks_become_columns_coarse_to_fine(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "open_pictures", lambda config: CifarSource(config.source, pins={}))
    prepare(write_cifar100(tmp_path), tmp_path / "samples.parquet")
    table = read_parquet(tmp_path / "samples.parquet")
    assert table.column_names[3:7] == ["pool", "superclass", "class", "path"]
    assert table["superclass"].to_pylist() == ["fruit_and_vegetables", "fish"] * 2
    assert table["class"].to_pylist() == ["apple", "aquarium_fish"] * 2
    metadata = table_metadata(tmp_path / "samples.parquet")
    assert metadata["ranks"] == ["superclass", "class"]
    assert metadata["mode"] == "RGB"


def test_files_that_are_not_the_published_ones_are_refused(tmp_path):
    with pytest.raises(TailproofError, match=r"\w{64}, expected \w{64}"):
        prepare(write_cifar100(tmp_path), tmp_path / "samples.parquet")
    assert not (tmp_path / "samples.parquet").exists()


def write_idx(root: Path, images: dict[str, np.ndarray]) -> Data:
    root.mkdir()
    for name, array in images.items():
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (root / name).write_bytes(header + array.tobytes())
    return Data(source={"name": "idx", "root": str(root)})


def test_an_array_source_is_listed_with_its_pools(tmp_path):
    arrays = [noise(0, 3, 5, 6), np.array([0, 1, 1], np.uint8), noise(1, 2, 5, 6), np.arange(2)]
    arrays[3] = arrays[3].astype(np.uint8)
    config = write_idx(tmp_path / "raw", dict(zip(NAMES, arrays, strict=True)))
    prepare(config, tmp_path / "samples.parquet")
    rows = read_parquet(tmp_path / "samples.parquet").to_pandas()
    assert rows["sample_id"].tolist() == [
        "train-00000",
        "train-00001",
        "train-00002",
        "test-00000",
        "test-00001",
    ]
    assert rows["class"].tolist() == ["0", "1", "1", "0", "1"]
    assert rows["pool"].tolist() == ["train"] * 3 + ["held_out"] * 2
    assert rows["row"].tolist() == [0, 1, 2, 0, 1]
    assert rows["path"].tolist() == [NAMES[0]] * 3 + [NAMES[2]] * 2


@pytest.mark.parametrize("content", [b"", b"<html>", encode_png(noise(0, 9, 9))[:60]])
def test_an_image_that_does_not_decode_is_named_and_nothing_is_left(tmp_path, content):
    root = tmp_path / "raw"
    write(root / "cat/1.png", noise(0, 4, 4))
    (root / "cat/2.png").write_bytes(content)
    output = tmp_path / "results" / "samples.parquet"
    with pytest.raises(TailproofError, match=f"{root / 'cat/2.png'}: "):
        prepare(folder(root), output)
    left = [path for path in output.parent.rglob("*") if path.is_file()]
    assert left == [output.with_name("bad_images.csv")]


def test_a_full_disk_keeps_what_stood_there_before(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    output = tmp_path / "samples.parquet"
    output.write_bytes(b"what stood there before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TailproofError, match="no space is left on the disk"):
        prepare(DIGITS, output)
    assert output.read_bytes() == b"what stood there before"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [output]


def test_what_was_found_is_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="tailproof"):
        prepare(DIGITS, tmp_path / "samples.parquet")
    assert caplog.records[-1].args == (1797, "L")
