"""What lists and JSON files of others are taken for, and that the answer can be read."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tailproof.config.data import Data
from tailproof.data.sources import open_source
from tailproof.data.sources.base import Recognition, Sample
from tailproof.data.sources.coco_json import CocoJsonSource
from tailproof.data.sources.image_list import ImageListSource
from tailproof.runtime.errors import TailproofError
from tests.data.sources.pictures import write_pictures
from tests.data.sources.test_coco_json import FILES, content
from tests.data.sources.test_image_list import LISTS, images_of


def imagenet_lt(root: Path, lists: str = ".", images: str = ".", **changed: str) -> None:
    (root / lists).mkdir(exist_ok=True, parents=True)
    for name, text in {**LISTS, **changed}.items():
        (root / lists / f"ImageNet_LT_{name}.txt").write_text(text)
        write_pictures(root / images, images_of(LISTS[name]))


def read(recognition: Recognition) -> list[Sample]:
    """The samples of the source that was recognized."""
    return list(open_source(Data(source=recognition.source).source).samples())


def write_json(root: Path, name: str, value: Any) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("lists", "images", "named"),
    [
        (".", ".", ""),
        (".", ".", "ImageNet_LT_train.txt"),
        ("lists", ".", ""),
        ("lists", ".", "lists/ImageNet_LT_test.txt"),
        (".", "ImageNet", ""),
        ("data_txt/ImageNet_LT", "data/ImageNet", ""),
        ("lists", "images", "lists/ImageNet_LT_val.txt"),
    ],
)
def test_published_lists_are_found_with_their_images(tmp_path, lists, images, named):
    imagenet_lt(tmp_path, lists, images)
    recognition = ImageListSource.recognize(tmp_path / named)
    assert recognition.sure
    assert recognition.source.keys() == {"name", "root", "train", "val", "test"}
    assert Path(recognition.source["root"]).samefile(tmp_path)
    assert [sample.pool for sample in read(recognition)].count("held_out") == 3


def test_a_relative_path_is_recognized(tmp_path, monkeypatch):
    imagenet_lt(tmp_path / "study", "lists")
    monkeypatch.chdir(tmp_path / "study")
    for named in (".", "lists/ImageNet_LT_train.txt"):
        assert len(read(ImageListSource.recognize(Path(named)))) == 9


def test_a_list_alone_is_a_collection_without_a_test_set(tmp_path):
    (tmp_path / "labels.txt").write_text("a b.jpg cat\nc.jpg dog\n")
    write_pictures(tmp_path, ["photos/a b.jpg", "photos/c.jpg"])
    recognition = ImageListSource.recognize(tmp_path)
    assert recognition.source == {
        "name": "image_list",
        "root": str(tmp_path),
        "list": "labels.txt",
        "images": "photos",
    }
    assert len(read(recognition)) == 2


def test_val_is_the_test_set_if_there_is_no_other(tmp_path):
    """iNaturalist 2018 has labels for train and val."""
    imagenet_lt(tmp_path)
    (tmp_path / "ImageNet_LT_test.txt").unlink()
    recognition = ImageListSource.recognize(tmp_path)
    assert recognition.source["test"] == {"list": "ImageNet_LT_val.txt"}
    assert "val" not in recognition.source


def test_lists_of_two_collections_are_not_mixed(tmp_path):
    imagenet_lt(tmp_path)
    (tmp_path / "b_train.txt").write_text(LISTS["train"])
    recognition = ImageListSource.recognize(tmp_path)
    assert any("b_train.txt" in doubt for doubt in recognition.doubts)
    assert recognition.source["train"] == {"list": "ImageNet_LT_train.txt"}
    alone = ImageListSource.recognize(tmp_path / "b_train.txt")
    assert alone.source["list"] == "b_train.txt"


def test_names_of_classes_are_found(tmp_path):
    imagenet_lt(tmp_path)
    (tmp_path / "classnames.txt").write_text("tench\ngoldfish\nshark\n")
    recognition = ImageListSource.recognize(tmp_path)
    assert recognition.source["names"] == "classnames.txt"
    assert read(recognition)[0].labels == {"class": "tench"}


def test_part_of_a_collection_is_recognized(tmp_path):
    imagenet_lt(tmp_path)
    (tmp_path / images_of(LISTS["test"])[0]).unlink()
    recognition = ImageListSource.recognize(tmp_path)
    assert recognition.source["on_missing_image"] == "skip"
    assert len(read(recognition)) == 8


@pytest.mark.parametrize(
    "text",
    [
        "just some text\n",
        "filename,label\na.jpg,cat\nc.jpg,dog\n",
        "a.jpg\nc.jpg\n",
        "".join(f"{n}.jpg a text of its own, number {n}\n" for n in range(30)),
        "",
        "a.jpg,cat,3\nc.jpg,dog,4\n",
    ],
)
def test_other_texts_are_not_recognized(tmp_path, text):
    (tmp_path / "x.txt").write_text(text)
    write_pictures(tmp_path, ["a.jpg", "c.jpg"])
    assert ImageListSource.recognize(tmp_path) is None
    assert ImageListSource.recognize(tmp_path / "x.txt") is None
    assert ImageListSource.recognize(tmp_path / "a.jpg") is None


def test_lists_without_their_images_are_named(tmp_path):
    (tmp_path / "x.txt").write_text("a.jpg 0\nb.jpg 1\n")
    with pytest.raises(TailproofError, match=r"x\.txt lists pictures such as 'a\.jpg'"):
        ImageListSource.recognize(tmp_path)


@pytest.mark.parametrize("named", ["", "val.json"])
def test_inaturalist_is_recognized(tmp_path, named):
    value = content("inat2021_val")
    write_json(tmp_path, "train.json", value)
    write_json(tmp_path, "train_mini.json", value)
    write_json(tmp_path, "test.json", {key: value[key] for key in ("images", "categories")})
    other = json.loads((FILES / "inat2021_val.json").read_text().replace("val/", "train/"))
    write_json(tmp_path, "train.json", other)
    write_json(tmp_path, "val.json", value)
    for each in (value, other):
        write_pictures(tmp_path, [image["file_name"] for image in each["images"]])
    recognition = CocoJsonSource.recognize(tmp_path / named)
    assert recognition.source["train"] == {"file": "train.json"}
    assert recognition.source["test"] == {"file": "val.json"}
    assert [sample.pool for sample in read(recognition)] == ["train"] * 3 + ["held_out"] * 3


def test_camera_traps_are_recognized_with_their_splits(tmp_path):
    for name in ("caltech_camera_traps", "caltech_camera_traps_splits"):
        shutil.copy(FILES / f"{name}.json", tmp_path)
    names = [image["file_name"] for image in content("caltech_camera_traps")["images"]]
    write_pictures(tmp_path / "cct_images", names)
    recognition = CocoJsonSource.recognize(tmp_path)
    assert recognition.source == {
        "name": "coco_json",
        "root": str(tmp_path),
        "file": "caltech_camera_traps.json",
        "images": "cct_images",
        "splits": "caltech_camera_traps_splits.json",
    }
    assert {sample.pool for sample in read(recognition)} == {"train", "held_out"}


def test_camera_traps_without_sequences_have_places_as_groups(tmp_path):
    value = content("caltech_camera_traps")
    for image in value["images"]:
        del image["seq_id"]
    write_json(tmp_path, "x.json", value)
    write_pictures(tmp_path, [image["file_name"] for image in value["images"]])
    recognition = CocoJsonSource.recognize(tmp_path / "x.json")
    assert recognition.source["group"] == "location"
    assert {sample.group for sample in read(recognition)} == {"26", "38"}


def test_boxes_of_a_detection_set_are_samples(tmp_path):
    value = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 6, "height": 4} for n in range(2)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": n % 2, "category_id": 1 + n // 2, "bbox": [n, 0, 2, 3]}
            for n in range(4)
        ],
    }
    for name in ("train2017", "val2017"):
        write_json(tmp_path, f"annotations/instances_{name}.json", value)
        write_pictures(tmp_path, [f"images/{name}/{number}.jpg" for number in range(2)])
    recognition = CocoJsonSource.recognize(tmp_path)
    assert recognition.source["crops"] == {}
    assert recognition.source["test"] == {
        "file": "annotations/instances_val2017.json",
        "images": "images/val2017",
    }
    assert len(read(recognition)) == 8


def test_output_of_megadetector_is_named(tmp_path):
    shutil.copy(FILES / "megadetector.json", tmp_path)
    write_pictures(tmp_path, ["lynx/IMG_0001.JPG"])
    with pytest.raises(TailproofError, match=r"MegaDetector.*crops\.detections"):
        CocoJsonSource.recognize(tmp_path / "megadetector.json")
    assert CocoJsonSource.recognize(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "{" * 9, "null", '{"images": []}', '{"images": "annotations categories"}'],
)
def test_other_json_files_are_not_recognized(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    assert CocoJsonSource.recognize(tmp_path) is None
    assert CocoJsonSource.recognize(tmp_path / "x.json") is None


def test_pipes_and_folders_with_such_names_are_passed_over(tmp_path):
    os.mkfifo(tmp_path / "x.json")
    os.mkfifo(tmp_path / "x.txt")
    (tmp_path / "y.json").mkdir()
    for source in (CocoJsonSource, ImageListSource):
        assert source.recognize(tmp_path) is None
        assert source.recognize(tmp_path / "x.json") is None
