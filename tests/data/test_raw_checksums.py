"""Raw files that were replaced by others with an old time, as copying and unpacking leave it."""

import os
import time

import numpy as np
import pytest
from PIL import Image

from tailproof.config.data import Data
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import list_raw, replaced_raw


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
