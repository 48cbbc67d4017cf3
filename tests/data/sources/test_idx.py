import gzip
import hashlib
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from tailproof.data.images import decode
from tailproof.data.sources import Sample, open_source
from tailproof.data.sources.idx import (
    FASHION_MNIST,
    NAMES,
    PUBLISHED,
    Idx,
    IdxSource,
    PublishedDataset,
    read_idx,
)
from tailproof.runtime.errors import TailproofError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES


def idx(array: np.ndarray, *, kind: int = 8, sizes: tuple[int, ...] | None = None) -> bytes:
    sizes = array.shape if sizes is None else sizes
    return (
        bytes([0, 0, kind, array.ndim]) + struct.pack(f">{len(sizes)}I", *sizes) + array.tobytes()
    )


def dataset(train: int = 7, test: int = 4, classes: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        TRAIN_IMAGES: rng.integers(0, 256, (train, 5, 6), dtype=np.uint8),
        TRAIN_LABELS: np.arange(train, dtype=np.uint8) % classes,
        TEST_IMAGES: rng.integers(0, 256, (test, 5, 6), dtype=np.uint8),
        TEST_LABELS: np.arange(test, dtype=np.uint8) % classes,
    }


def write(root: Path, arrays: dict[str, np.ndarray], packed: bool = False) -> None:
    for name, array in arrays.items():
        data = idx(array)
        (root / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(data) if packed else data
        )


def source(root: Path, known: PublishedDataset | None = None) -> IdxSource:
    return IdxSource(Idx(name="idx", root=str(root)), known)


def pinned(arrays: dict[str, np.ndarray], classes: list[str]) -> PublishedDataset:
    sums = {name: hashlib.sha256(idx(array)).hexdigest() for name, array in arrays.items()}
    return PublishedDataset(classes, {name: f"sha256:{value}" for name, value in sums.items()})


@pytest.mark.parametrize("packed", [False, True])
def test_every_sample_comes_with_its_label_and_pixels(tmp_path, packed):
    arrays = dataset()
    write(tmp_path, arrays, packed)
    opened = source(tmp_path)
    samples = list(opened.samples())
    assert len(samples) == len(opened) == 11
    assert opened.classes == {"class": ["0", "1", "2"]}
    suffix = ".gz" if packed else ""
    assert samples[4] == Sample(
        "train-00004", {"class": "1"}, TRAIN_IMAGES + suffix, 4, pool="train"
    )
    assert samples[9] == Sample(
        "test-00002", {"class": "2"}, TEST_IMAGES + suffix, 2, pool="held_out"
    )
    images = np.stack([decode(opened.read(sample.path, sample.row), "L") for sample in samples])
    np.testing.assert_array_equal(
        images, np.concatenate([arrays[TRAIN_IMAGES], arrays[TEST_IMAGES]])
    )


def test_files_are_those_that_are_there_and_else_the_publishers(tmp_path):
    write(tmp_path, {TRAIN_LABELS: np.zeros(1, np.uint8)})
    assert source(tmp_path).files() == [
        tmp_path / f"{TRAIN_IMAGES}.gz",
        tmp_path / TRAIN_LABELS,
        tmp_path / f"{TEST_IMAGES}.gz",
        tmp_path / f"{TEST_LABELS}.gz",
    ]


def test_an_installed_package_stands_in_for_what_root_lacks(tmp_path):
    arrays, root, package = dataset(), tmp_path / "root", tmp_path / "package"
    root.mkdir()
    package.mkdir()
    write(package, arrays, packed=True)
    known = replace(pinned(arrays, ["a", "b", "c"]), package=package)
    assert [path.parent for path in source(root, known).files()] == [package] * 4
    write(root, arrays)
    assert [path.parent for path in source(root, known).files()] == [root] * 4
    assert len(list(source(root, known).samples())) == 11


def test_a_missing_file_is_named_under_both_its_names(tmp_path):
    arrays = dataset()
    del arrays[TEST_LABELS]
    write(tmp_path, arrays)
    with pytest.raises(TailproofError, match=rf"{TEST_LABELS}.*{TEST_LABELS}\.gz"):
        list(source(tmp_path).samples())


def test_images_and_labels_that_differ_in_number_are_refused(tmp_path):
    write(tmp_path, dataset() | {TRAIN_LABELS: np.zeros(6, np.uint8)})
    with pytest.raises(TailproofError, match=r"7 images.*train-labels-idx1-ubyte .*6 labels"):
        source(tmp_path).load()


def test_a_label_out_of_range_is_named_with_its_row(tmp_path):
    arrays = dataset()
    arrays[TEST_LABELS][3] = 5
    write(tmp_path, arrays)
    known = pinned(arrays, ["a", "b", "c"])
    with pytest.raises(TailproofError, match=rf"{TEST_LABELS}, row 3.* 5, expected 0 to 2"):
        source(tmp_path, known).load()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6)))
def test_an_idx_file_is_read_as_it_was_written(tmp_path_factory, array):
    file = tmp_path_factory.mktemp("idx") / "file"
    file.write_bytes(idx(array))
    np.testing.assert_array_equal(read_idx(file, array.ndim), array)


@given(length=st.integers(0, 29), packed=st.booleans())
def test_a_truncated_file_is_refused(tmp_path_factory, length, packed):
    file = tmp_path_factory.mktemp("idx") / "file"
    data = idx(np.arange(14, dtype=np.uint8).reshape(7, 2, 1))
    assert len(data) == 30
    file.write_bytes(gzip.compress(data[:length]) if packed else data[:length])
    with pytest.raises(TailproofError, match=r"truncated|starts with|header"):
        read_idx(file, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (idx(np.zeros((2, 3), np.uint8)), "expected 00000803"),
        (idx(np.zeros((2, 3, 4), np.uint8), kind=0x0D), "unsigned bytes"),
        (idx(np.zeros((2, 3, 4), np.uint8)) + b"\0", "has 41 bytes"),
        (idx(np.zeros((2, 3, 4), np.uint8), sizes=(3, 3, 4)), " 52"),
        (idx(np.zeros((0, 3, 4), np.uint8)), r"\(0, 3, 4\)"),
        (
            idx(np.zeros((1, 1, 1), np.uint8), sizes=(2**32 - 1,) * 3),
            "79228162458924105385300197391",
        ),
        (gzip.compress(idx(np.zeros((2, 3, 4), np.uint8)), mtime=0)[:-9], "damaged gzip file"),
        (gzip.compress(idx(np.zeros((2, 3, 4), np.uint8)), mtime=0) + b"more", "damaged gzip file"),
        (b"\x1f\x8b garbage", "damaged gzip file"),
        (b"<html>", "3c68746d"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, data, message):
    file = tmp_path / "images"
    file.write_bytes(data)
    with pytest.raises(TailproofError, match=message) as caught:
        read_idx(file, 3)
    assert str(file) in str(caught.value)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(TailproofError, match="is a folder, expected a regular file"):
        read_idx(tmp_path, 3)


@pytest.mark.parametrize("packed", [False, True])
def test_a_pin_holds_for_the_content_however_it_is_packed(tmp_path, packed):
    arrays = dataset()
    write(tmp_path, arrays, packed)
    known = pinned(arrays, ["a", "b", "c"])
    assert len(source(tmp_path, known)) == 11

    arrays[TRAIN_IMAGES][0, 0, 0] ^= 1
    write(tmp_path, arrays, packed)
    with pytest.raises(
        TailproofError, match=rf"{TRAIN_IMAGES}.*sha256 .*\w{{64}}, expected \w{{64}}"
    ) as caught:
        source(tmp_path, known).load()
    assert known.pins[TRAIN_IMAGES].removeprefix("sha256:") in str(caught.value)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_known_dataset_does_not_take_other_files(tmp_path, name):
    write(tmp_path, dataset())
    with pytest.raises(TailproofError, match=r"\w{64}, expected \w{64}"):
        open_source(Idx(name="idx", dataset=name, root=str(tmp_path))).load()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_known_datasets_are_pinned_whole(name):
    assert set(PUBLISHED[name].pins) == set(NAMES)
    assert len(set(PUBLISHED[name].pins.values())) == 4


def test_fashion_mnist_has_the_published_three_ranks(tmp_path):
    arrays = dataset(train=10, test=10, classes=10)
    write(tmp_path, arrays)
    pins = pinned(arrays, []).pins
    known = PublishedDataset(FASHION_MNIST.classes, pins, FASHION_MNIST.parents)
    opened = source(tmp_path, known)
    assert opened.ranks == ("category", "subcategory", "class")
    assert {rank: len(names) for rank, names in opened.classes.items()} == {
        "category": 2,
        "subcategory": 6,
        "class": 10,
    }
    found = [tuple(sample.labels[rank] for rank in opened.ranks) for sample in opened.samples()]
    assert (
        found[:10]
        == found[10:]
        == [
            ("clothes", "tops", "T-shirt/top"),
            ("clothes", "bottoms", "Trouser"),
            ("clothes", "tops", "Pullover"),
            ("clothes", "dresses", "Dress"),
            ("clothes", "outers", "Coat"),
            ("goods", "shoes", "Sandal"),
            ("clothes", "tops", "Shirt"),
            ("goods", "shoes", "Sneaker"),
            ("goods", "accessories", "Bag"),
            ("goods", "shoes", "Ankle boot"),
        ]
    )


@pytest.mark.parametrize("name", ["mnist", "other"])
def test_download_without_a_publisher_is_a_mistake_in_the_configuration(name):
    with pytest.raises(ValidationError, match=r"download.*fashion_mnist"):
        Idx(name="idx", dataset=name, root="raw", download=True)


@pytest.mark.timeout(60)
def test_a_pipe_and_a_file_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("tailproof.data.sources.idx.LARGEST", 2**20)
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(2**21), mtime=0))
    for name in ("pipe", "bomb"):
        with pytest.raises(TailproofError, match=name):
            read_idx(tmp_path / name, 3)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "raw", "FashionMNIST/raw"])
def test_the_four_files_are_recognized(tmp_path, monkeypatch, below, packed):
    assert IdxSource.recognize(tmp_path) is None
    root, arrays = tmp_path / below, dataset()
    root.mkdir(parents=True, exist_ok=True)
    write(root, arrays, packed)
    found = IdxSource.recognize(tmp_path)
    assert found.sure
    assert found.source == {"name": "idx", "dataset": "other", "root": str(root)}
    assert len(open_source(Idx(**found.source))) == 11
    file = next(root.iterdir())
    assert IdxSource.recognize(file) == found
    monkeypatch.setitem(PUBLISHED, "mnist", pinned(arrays, ["0", "1", "2"]))
    assert IdxSource.recognize(tmp_path).source["dataset"] == "mnist"
    file.unlink()
    with pytest.raises(TailproofError, match=file.name.removesuffix(".gz")):
        IdxSource.recognize(tmp_path)
    (tmp_path / "x.txt").touch()
    assert IdxSource.recognize(tmp_path / "x.txt") is None
