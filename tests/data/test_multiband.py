"""Images that are arrays of bands, from foreign parquet to batches."""

import io
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

from tailproof.config.augmentation import Augmentation
from tailproof.config.data import Data
from tailproof.data.images import decode, encode_png, pixel_digest
from tailproof.data.multiband import decode_bands, encode_bands, viewable
from tailproof.data.normalization import BandMoments, PixelSums, normalization
from tailproof.data.prepare import prepare
from tailproof.files import read_json
from tailproof.loading import Loader, Split
from tailproof.loading.resizing import fit
from tailproof.runtime.errors import TailproofError
from tests.conftest import build_data

BANDS, HEIGHT, WIDTH = 5, 6, 8


def sky(count, seed=0):
    """Arrays [count, bands, height, width] on a high level, as detectors have them."""
    rng = np.random.default_rng(seed)
    level = np.array([1e4, -3.0, 0.0, 50.0, 1.0])[:, None, None]
    return (rng.normal(size=(count, BANDS, HEIGHT, WIDTH)) + level).astype(np.float32)


def column(images, layout):
    if layout == "nested":
        return pa.array(images.tolist(), pa.list_(pa.list_(pa.list_(pa.float32()))))
    if layout == "fixed":
        flat = images.reshape(len(images), -1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    files = []
    for image in images:
        file = io.BytesIO()
        np.save(file, image.astype(np.float64))
        files.append(file.getvalue())
    return pa.array(files, pa.binary())


def write_regions(root, images, layout="nested"):
    """Write two Hive partitions by region, 'lens' being every fifth image."""
    labels = ["lens" if row % 5 == 0 else "galaxy" for row in range(len(images))]
    half = len(images) // 2
    for region, rows in (("north", slice(0, half)), ("south", slice(half, None))):
        path = root / f"region={region}" / "part.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.table({"image": column(images[rows], layout), "label": labels[rows]}), path
        )
    return labels


def source(root, **changes):
    return {"name": "parquet", "root": str(root), **changes}


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        ("nested", {}),
        ("fixed", {"shape": [BANDS, HEIGHT, WIDTH]}),
        ("npy", {}),
    ],
)
def test_every_layout_of_arrays_comes_to_the_same_batches(tmp_path, layout, options):
    images = sky(200)
    labels = write_regions(tmp_path / "raw", images, layout)
    data = Data(source=source(tmp_path / "raw", **options), positive_class="lens")
    manifest = build_data(data, tmp_path / "out")
    found = read_json(manifest)
    assert (found["mode"], found["bands"], found["positive"]) == ("float32", BANDS, "lens")
    assert (found["height"], found["width"]) == (HEIGHT, WIDTH)
    split = Split(manifest, "train")
    rows = [
        int(name.rsplit(":", 1)[1]) + (100 if "south" in name else 0) for name in split.sample_ids
    ]
    own = images[rows].astype(np.float64)
    assert found["normalization"]["mean"] == pytest.approx(own.mean((0, 2, 3)), rel=1e-6, abs=1e-6)
    assert found["normalization"]["std"] == pytest.approx(own.std((0, 2, 3)), rel=1e-6)
    names = found["classes"]["label"]
    assert [names[code] for code in split.labels["label"]] == [labels[row] for row in rows]
    for budget in (0, 1 << 30):
        loader = Loader(
            split,
            batch_size=7,
            image_size=None,
            normalization=found["normalization"],
            memory_budget=budget,
        )
        got = torch.cat([batch.inputs for batch in loader.epoch(1)]).numpy()
        mean, std = own.mean((0, 2, 3)), own.std((0, 2, 3))
        expected = (own - mean[:, None, None]) / std[:, None, None]
        assert got == pytest.approx(expected, abs=2e-3)  # float32 of a level of 1e4


def test_a_region_is_chosen_by_its_partition(tmp_path):
    write_regions(tmp_path / "raw", sky(40))
    data = Data(source=source(tmp_path / "raw", filter={"region": "south"}))
    prepare(data, tmp_path / "samples.parquet")
    assert pq.read_metadata(tmp_path / "samples.parquet").num_rows == 20


def test_crop_and_flip_are_the_same_in_memory_and_streamed(tmp_path):
    write_regions(tmp_path / "raw", sky(60))
    manifest = build_data(Data(source=source(tmp_path / "raw")), tmp_path / "out")
    split, batches = Split(manifest, "train"), []
    for workers, budget in ((0, 1 << 30), (0, 0), (2, 0)):
        loader = Loader(
            split,
            batch_size=8,
            image_size=None,
            normalization=split.manifest["normalization"],
            augmentation=Augmentation(crop_padding=2, flip=True, cutout=2),
            workers=workers,
            memory_budget=budget,
        )
        batches.append(torch.cat([batch.inputs for batch in loader.epoch(3)]))
        loader.close()
    assert torch.equal(batches[0], batches[1]) and torch.equal(batches[0], batches[2])
    plain = Loader(
        split, batch_size=8, image_size=None, normalization=split.manifest["normalization"]
    )
    assert len({tuple(x.shape) for x in (batches[0], next(plain.epoch(1)).inputs)}) == 2
    assert batches[0].shape[1:] == (BANDS, HEIGHT, WIDTH)


def test_shards_are_readable_by_pandas_and_datasets(tmp_path):
    write_regions(tmp_path / "raw", sky(40))
    manifest = build_data(Data(source=source(tmp_path / "raw")), tmp_path / "out")
    path = str(manifest.parent / read_json(manifest)["splits"]["train"]["shards"][0]["path"])
    split = Split(manifest, "train")
    by_pandas = pd.read_parquet(path)["image"][0]["bytes"]
    files = load_dataset("parquet", data_files=path, cache_dir=str(tmp_path / "cache"))["train"]
    for data in (by_pandas, files[0]["image"]["bytes"]):
        assert np.load(io.BytesIO(data)).tolist() == split.image(0).tolist()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: np.where(np.arange(WIDTH) == 3, np.nan, x), "240 of its pixels are NaN"),
        (lambda x: np.where(x > 1e4, np.inf, x), "of its pixels are NaN or infinite, the first in"),
        (lambda x: x[:, :4], "4 bands.* 5"),
    ],
    ids=["nan", "infinite", "bands"],
)
def test_bad_pixels_and_bands_are_told_with_file_and_row(tmp_path, spoil, message):
    images = sky(20)
    write_regions(tmp_path / "raw", images)
    bad = spoil(images[:1])
    message = message.replace("240", str(HEIGHT * BANDS))
    path = tmp_path / "raw" / "region=south" / "part.parquet"
    table = pq.read_table(path, partitioning=None)
    cells = [*table["image"].to_pylist()[:3], bad[0].tolist(), *table["image"].to_pylist()[4:]]
    cells = pa.array(cells, table.schema.field("image").type)
    pq.write_table(table.set_column(0, "image", cells), path)
    with pytest.raises(TailproofError, match=r"region=south/part\.parquet, row 3: ") as error:
        prepare(Data(source=source(tmp_path / "raw")), tmp_path / "samples.parquet")
    assert re.search(message, str(error.value)) and "Traceback" not in str(error.value)
    assert not (tmp_path / "samples.parquet").exists()


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        ([[[1.0, 2.0], [3.0]]], {}, "its lists of axis 1 have the lengths 2, 1, expected one"),
        ([[[1.0, None], [3.0, 4.0]]], {}, "1 of its pixels is null"),
        ([[1.0, 2.0, 3.0]], {}, "flat list of 3 numbers.*data.source.shape"),
        ([[1.0, 2.0, 3.0]], {"shape": [2, 2]}, r"3 numbers.*data.source.shape \[2, 2\]"),
        ([[[[[1.0]]]]], {}, r"its array has the shape \[1, 1, 1, 1\]"),
        ([["a", "b"]], {}, "expected encoded images"),
        ([None], {}, "no image"),
    ],
)
def test_arrays_that_are_no_images_are_told(tmp_path, cells, options, message):
    kind = pa.list_(pa.list_(pa.float32())) if cells == [None] else None
    table = pa.table({"image": pa.array(cells, kind), "label": ["a"]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(TailproofError, match=message):
        prepare(Data(source=source(tmp_path / "x.parquet", **options)), tmp_path / "s.parquet")


def test_pictures_and_arrays_do_not_mix(tmp_path):
    files = [encode_png(np.zeros((4, 4), np.uint8)), encode_bands(np.zeros((4, 4, 2)))]
    pq.write_table(pa.table({"image": files, "label": ["a", "b"]}), tmp_path / "x.parquet")
    with pytest.raises(TailproofError, match=r"arrays of 2 bands.* 8-bit pictures"):
        prepare(Data(source=source(tmp_path / "x.parquet", bands="last")), tmp_path / "s.parquet")


@pytest.mark.parametrize("cut", [20, 100, 140])
def test_a_truncated_array_is_told(cut):
    with pytest.raises(TailproofError, match=r"\.npy array"):
        decode(encode_bands(np.zeros((3, 3, 2)))[:cut])


def test_an_array_of_objects_is_never_unpickled():
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    with pytest.raises(TailproofError, match=r"\.npy array"):
        decode(file.getvalue())


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))


@given(shapes, st.integers(0, 99))
def test_an_array_comes_back_as_it_was(shape, seed):
    image = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    assert np.array_equal(decode(encode_bands(image)), image)
    assert pixel_digest(image) == pixel_digest(decode_bands(encode_bands(image)))
    seen = viewable(image)
    assert seen.dtype == np.uint8 and seen.shape[:2] == shape[:2]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 99))
def test_moments_are_those_of_all_pixels_however_they_are_parted(sizes, seed):
    rng = np.random.default_rng(seed)
    images = [rng.normal([1e6, 0], [1, 5], (size, 3, 2)).astype(np.float32) for size in sizes]
    parts = []
    for image in images:
        moments = BandMoments(2)
        moments.add(image)
        parts.append(json.loads(json.dumps(moments.facts())))
    found, pixels = normalization(parts), np.concatenate(images).reshape(-1, 2).astype(float)
    assert found["mean"] == pytest.approx(pixels.mean(0))
    assert found["std"] == pytest.approx(pixels.std(0), rel=1e-6)


def test_a_band_that_says_nothing_is_told():
    moments = BandMoments(2)
    moments.add(np.stack([np.ones((4, 4)), np.arange(16.0).reshape(4, 4)], axis=2))
    with pytest.raises(TailproofError, match="band 0 "):
        normalization([moments.facts()])


@pytest.mark.parametrize(("constant", "what"), [((0, 1, 2), "one and the same"), ((2,), "blue")])
def test_a_channel_that_says_nothing_is_told(constant, what):
    sums = PixelSums(3)
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image[..., list(constant)] = 7
    sums.add(image)
    with pytest.raises(TailproofError, match=what):
        normalization([sums.facts()])


def test_arrays_are_resized_band_by_band():
    image = np.stack([np.full((8, 12), value) for value in (1.5, -7.0)], axis=2)
    resized = fit(image.astype(np.float32), 4)
    assert resized.shape == (4, 4, 2) and resized.dtype == np.float32
    assert resized[..., 0] == pytest.approx(1.5) and resized[..., 1] == pytest.approx(-7.0)
