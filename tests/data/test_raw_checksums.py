"""Raw files that were replaced by others with an old time, as copying and unpacking leave it."""

import builtins
import os
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tailproof.config.data import Data
from tailproof.data.images import encode_png
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import files_to_read, list_raw, replaced_raw
from tailproof.data.tables import read_parquet


@pytest.fixture
def listed(tmp_path):
    """Return a function that lists what was replaced in a folder of pictures."""
    root = tmp_path / "raw"
    rng = np.random.default_rng(0)
    for number in range(6):
        path = root / ("cat" if number % 2 else "dog") / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(path)
    config = Data(source={"name": "image_folder", "root": str(root)})
    since = time.time()
    prepare(config, tmp_path / "samples.parquet")
    list_raw(config, tmp_path / "samples.parquet", tmp_path / "raw.parquet")

    def find(since=since):
        return replaced_raw(config, tmp_path / "raw.parquet", since, tmp_path / "seen.parquet")

    return find


def replace(path, content: bytes) -> None:
    """Give a file another content and the time that it had."""
    before = path.stat()
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def test_nothing_was_replaced(listed, tmp_path):
    assert listed() == []
    assert listed(since=0) == [], "each file is hashed, and is as it was"
    assert (tmp_path / "seen.parquet").exists()


@pytest.mark.parametrize("longer", [b"", b"!"], ids=["same size", "other size"])
@pytest.mark.parametrize("since", [None, 0], ids=["here", "in a clone"])
def test_a_replaced_file_with_an_old_time_is_found(listed, tmp_path, longer, since):
    arguments = {} if since is None else {"since": since}
    assert listed(**arguments) == []
    path = tmp_path / "raw" / "cat" / "1.bmp"
    content = path.read_bytes()
    replace(path, content[:-1] + bytes([content[-1] ^ 1]) + longer)
    assert listed(**arguments) == [str(path)]
    replace(path, content)
    assert listed(**arguments) == []


def test_a_touched_file_is_hashed_once(listed, tmp_path, monkeypatch):
    path = tmp_path / "raw" / "dog" / "0.bmp"
    os.utime(path)
    assert listed() == []
    monkeypatch.setattr("tailproof.digests.sha256_file", None)
    assert listed() == []


def test_a_missing_list_or_folder_is_no_reason_to_stop(listed, tmp_path):
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    assert listed() == []
    (tmp_path / "raw.parquet").write_bytes(b"damaged")
    assert listed() == []


def write(root, *paths: str) -> None:
    for shade, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_png(np.full((2, 2), shade, np.uint8)))


@pytest.mark.parametrize("most", [0, 2, 3])
def test_snakemake_gets_the_names_of_many_files_as_one_digest(tmp_path, monkeypatch, most):
    monkeypatch.setattr("tailproof.data.raw_checksums.MOST_INPUTS", most)
    write(tmp_path, "cat/1.png", "owl/1.png", "cat/2.png")
    data = Data(source={"name": "image_folder", "root": str(tmp_path)})
    found = files_to_read(data, tmp_path / "raw.parquet")
    assert len(found.inputs) == (3 if most == 3 else 0)
    (tmp_path / "owl/1.png").write_bytes((tmp_path / "cat/2.png").read_bytes())
    assert files_to_read(data, tmp_path / "raw.parquet") == found
    write(tmp_path, "cat/3.png")
    assert files_to_read(data, tmp_path / "raw.parquet") != found


@pytest.mark.parametrize("passes", ["folders", "files"])
def test_a_collection_is_listed_once_for_prepare_and_the_checksums(tmp_path, monkeypatch, passes):
    root = tmp_path / "raw"
    write(root, *(f"{name}/{number}.png" for name in ("cat", "owl") for number in range(5)))
    data = Data(source={"name": "image_folder", "root": str(root)})
    counted = Counter()
    module, name = (os, "scandir") if passes == "folders" else (builtins, "open")
    plain = getattr(module, name)

    def count(path, *arguments, **options):
        counted[str(path)] += str(path).startswith(str(root))
        return plain(path, *arguments, **options)

    monkeypatch.setattr(module, name, count)
    list_raw(
        data,
        tmp_path / "samples.parquet",
        tmp_path / "raw.parquet",
        prepare(data, tmp_path / "samples.parquet"),
    )
    seen = {path: times for path, times in counted.items() if times}
    assert set(seen.values()) == {1}
    assert len(seen) == (3 if passes == "folders" else 10)


@pytest.mark.parametrize("root", [".", "raw", "./raw/", "raw/../raw"])
def test_paths_are_relative_to_the_root_however_it_is_written(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / root, "cat/1.png", "owl/2.png")
    data = Data(source={"name": "image_folder", "root": root})
    list_raw(data, "samples.parquet", "raw.parquet", prepare(data, "samples.parquet"))
    table = read_parquet("raw.parquet")
    assert table["path"].to_pylist() == ["cat/1.png", "owl/2.png"]
    assert table["watched"].to_pylist() == [True, True]
    assert replaced_raw(data, tmp_path / "raw.parquet", 0, tmp_path / "seen") == []


def test_images_of_a_table_are_hashed_and_not_watched(tmp_path):
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "x.csv").write_text("filename,label\na.png,x\nb.png,y\n")
    options = {"table": "x.csv", "ranks": ["label"], "group": None}
    data = Data(source={"name": "metadata_csv", "root": str(tmp_path), **options})
    samples, raw = tmp_path / "samples.parquet", tmp_path / "raw.parquet"
    list_raw(data, samples, raw, prepare(data, samples))
    rows = read_parquet(raw, ["path", "watched"]).to_pylist()
    assert {row["path"]: row["watched"] for row in rows} == {
        "a.png": False, "b.png": False, "x.csv": True
    }  # fmt: skip
    write(tmp_path, "x.png", "b.png")
    assert replaced_raw(data, raw, 0, tmp_path / "seen") == []
    write(tmp_path, "b.png")
    assert replaced_raw(data, raw, 0, tmp_path / "seen") == [str(tmp_path / "b.png")]
