import base64
import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tailproof.data import thumbnails
from tailproof.data.images import decode, encode_png
from tailproof.report.results import Results
from tailproof.report.worst_errors import worst_errors
from tailproof.runtime.errors import TailproofError


@pytest.fixture
def results(drawn):
    return Results.read("drawn", drawn[1], drawn[0])


def pixels(picture):
    return decode(base64.b64decode(picture.uri.removeprefix("data:image/png;base64,")))


def shards(results, split):
    for shard in results.manifest["splits"][split]["shards"]:
        yield from pq.read_table(results.folder / "shards" / shard["path"]).to_pylist()


def class_thumbnails(results, folder):
    thumbnails.write_class_thumbnails(results.folder / "shards/manifest.json", folder / "t.json")
    return thumbnails.read_class_thumbnails(folder / "t.json")


def test_each_class_is_shown_by_its_first_training_sample(results, tmp_path):
    found = class_thumbnails(results, tmp_path)
    assert list(found) == sorted(results.classes, key=lambda name: -results.train_counts[name])
    for name, picture in found.items():
        rows = (row for row in shards(results, "train") if results.classes[row["label"]] == name)
        assert np.array_equal(pixels(picture), decode(next(rows)["image"]["bytes"]))


def test_errors_are_shown_with_their_own_pictures(results):
    method, errors = worst_errors(results)
    assert method == results.scores.best_ensemble
    table = results.tables["errors"].query("method == @method")
    assert [error["sample_id"] for error in errors] == list(table["sample_id"])
    images = {row["sample_id"]: row["image"]["bytes"] for row in shards(results, "dev")}
    for error in errors:
        assert error["true"] != error["predicted"]
        assert np.array_equal(pixels(error["picture"]), decode(images[error["sample_id"]]))


def test_of_many_classes_some_are_shown(results, monkeypatch, tmp_path):
    monkeypatch.setattr(thumbnails, "CLASSES", 4)
    found = class_thumbnails(results, tmp_path)
    assert len(found) == 4
    assert next(iter(found)) == max(results.train_counts, key=results.train_counts.get)


def test_large_images_are_shrunk_and_carry_nothing_else():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a private note"
    image = np.full((300, 200, 3), (200, 90, 10), np.uint8)
    Image.fromarray(image).save(file, "JPEG", exif=exif)
    picture = thumbnails.picture(file.getvalue())
    assert (picture.width, picture.height, picture.pixelated) == (64, 96, False)
    assert b"private" not in base64.b64decode(picture.uri.split(",")[1])
    assert pixels(picture).shape == (96, 64, 3)


def test_small_images_keep_every_pixel():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    picture = thumbnails.picture(encode_png(image))
    assert np.array_equal(pixels(picture), image)
    assert picture.pixelated


def test_a_sample_that_no_shard_holds_is_named(results):
    results.tables["errors"]["sample_id"] = "gone"
    with pytest.raises(TailproofError, match=r"'dev'.*no row with sample_id gone"):
        worst_errors(results)


def test_a_damaged_image_is_named(tmp_path):
    path = tmp_path / "part.parquet"
    table = {"sample_id": ["a"], "image": [{"bytes": b"no image", "path": None}]}
    pq.write_table(__import__("pyarrow").table(table), path)
    with pytest.raises(TailproofError, match=r"part\.parquet: an image is damaged"):
        thumbnails._find_in(path, "sample_id", {"a"}, {})
