"""Boxes as samples: of MegaDetector, of COCO's annotations, and of columns of a table."""

import io
import json
import re
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from tailproof.config.data import Data
from tailproof.data.images import decode, encode_png
from tailproof.data.multiband import encode_bands
from tailproof.data.prepare import prepare
from tailproof.data.shards import shard
from tailproof.data.sources import Source, open_source
from tailproof.data.sources.base import Box
from tailproof.data.sources.crops.cut import FRACTIONS, cut
from tailproof.data.splits import split
from tailproof.data.tables import read_parquet
from tailproof.runtime.errors import TailproofError
from tests.data.sources.opened import complaint, left_out
from tests.data.sources.pictures import write_pictures

FILES = Path(__file__).parents[2] / "field" / "coco"
PICTURES = ["lynx/IMG_0001.JPG", "lynx/IMG_0002.JPG", "otter/IMG_0001.JPG", "otter/IMG_0002.JPG"]


def pixels_of(file: Path) -> np.ndarray:
    return decode(file.read_bytes())


def detected(root: Path, value: Any = None, pictures: list[str] = PICTURES, **crops) -> Source:
    """Class folders, and what MegaDetector found in them."""
    write_pictures(root, pictures, height=8, width=12)
    value = value or json.loads((FILES / "megadetector.json").read_text())
    (root / "md.json").write_text(value if isinstance(value, str) else json.dumps(value))
    options = {"detections": "md.json", **crops}
    source = {"name": "image_folder", "root": str(root), "crops": options}
    return open_source(Data(source=source).source)


def table(root: Path, rows: str, **options) -> Source:
    write_pictures(root, ["a.png", "b.png"], height=8, width=12)
    (root / "boxes.csv").write_text("filename,species,x,y,w,h,plot\n" + rows)
    given = {"table": "boxes.csv", "ranks": ["species"], "group": None, "box": list("xywh")}
    source = {"name": "metadata_csv", "root": str(root), **given, **options}
    return open_source(Data(source=source).source)


def coco(root: Path, *boxes: Any, size: tuple[int, int] = (12, 8), **fields) -> Source:
    """One picture with boxes of alternating categories."""
    write_pictures(root, ["a.png"], height=8, width=12)
    value = {
        "images": [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}],
        "categories": [{"id": 0, "name": "even"}, {"id": 1, "name": "odd"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": n % 2, "bbox": box, **fields}
            for n, box in enumerate(boxes)
        ],
    }
    (root / "x.json").write_text(json.dumps(value))
    source = {"name": "coco_json", "root": str(root), "file": "x.json", "crops": {}}
    return open_source(Data(source=source).source)


def crop(opened: Source, path: str, number: int) -> np.ndarray:
    return decode(opened.read(path, number), "RGB")


def test_megadetector_gives_the_boxes_and_the_folder_the_label(tmp_path):
    opened = detected(tmp_path)
    samples = list(opened.samples())
    assert len(opened) == len(samples) == 3
    assert [(sample.sample_id, sample.path, sample.row) for sample in samples] == [
        ("lynx/IMG_0001.JPG:0", "lynx/IMG_0001.JPG", 0),
        ("lynx/IMG_0001.JPG:3", "lynx/IMG_0001.JPG", 3),
        ("otter/IMG_0001.JPG:0", "otter/IMG_0001.JPG", 0),
    ]
    assert [sample.labels["class"] for sample in samples] == ["lynx", "lynx", "otter"]
    assert [sample.group for sample in samples] == [sample.path for sample in samples]
    whole = pixels_of(tmp_path / "lynx/IMG_0001.JPG")
    assert np.array_equal(crop(opened, "lynx/IMG_0001.JPG", 0), whole[2:4, 0:6])
    assert np.array_equal(crop(opened, "lynx/IMG_0001.JPG", 3), whole[4:8, 6:9])
    assert tmp_path / "md.json" in opened.files()
    assert left_out(opened) == {
        "boxes of person": 1,
        "boxes with a confidence below 0.3": 1,
        "pictures without a box of animal": 1,
        "pictures that MegaDetector could not read": 1,
        "files in md.json that are no samples": 1,
    }


def test_categories_and_confidence_are_chosen(tmp_path):
    opened = detected(tmp_path, min_confidence=0.05, categories=["animal", "person"])
    assert [sample.row for sample in opened.samples()] == [0, 1, 2, 3, 0]
    assert "'animals' (did you mean 'animal'?)" in complaint(
        detected(tmp_path, categories=["animals"])
    )


@pytest.mark.parametrize(
    "folder", ["/scratch/somebody/traps/", "C:\\\\traps\\\\", "./", "traps/2024/"]
)
def test_paths_may_have_other_folders_in_front(tmp_path, folder):
    text = (FILES / "megadetector.json").read_text().replace('"file": "', f'"file": "{folder}')
    opened = detected(tmp_path, text)
    assert [sample.row for sample in opened.samples()] == [0, 3, 0]
    assert sum("md.json" in warning for warning in opened.warnings()) == (folder != "./")


def test_the_root_may_be_above_the_folder_that_was_looked_at(tmp_path):
    pictures = ["other/x.JPG", *(f"traps/{path}" for path in PICTURES)]
    opened = detected(tmp_path, pictures=pictures)
    assert [sample.path for sample in opened.samples()][-1] == "traps/otter/IMG_0001.JPG"
    assert len(opened) == 3
    assert left_out(opened)["pictures that md.json does not list"] == 1


def test_a_class_without_a_box_is_reported(tmp_path):
    opened = detected(tmp_path, pictures=[*PICTURES, "empty/IMG_0001.JPG"])
    assert opened.classes == {"class": ["lynx", "otter"]}
    assert left_out(opened)["pictures that md.json does not list"] == 1
    assert sum("'empty'" in warning for warning in opened.warnings()) == 1


DETECTION = {"category": "1", "conf": 0.9, "bbox": [0, 0, 1, 1]}


def output(*pictures: Any, **others: Any) -> dict[str, Any]:
    return {"images": list(pictures), "detection_categories": {"1": "animal"}, **others}


@pytest.mark.parametrize("folders", [["siteA/", "siteB/"], [""]])
def test_names_alone_do_not_match(tmp_path, folders):
    """All cameras call their files IMG_0001.JPG."""
    value = output(
        *({"file": f"{folder}IMG_0001.JPG", "detections": [DETECTION]} for folder in folders)
    )
    assert "lists none of the pictures" in complaint(detected(tmp_path, value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "contains an array"),
        ({"a": 1}, "has the keys a, expected the output of MegaDetector"),
        ({"images": [{"file": "a.jpg", "detections": []}]}, "detection_categories"),
        (output({"id": 1, "file_name": "a.jpg"}), r"images\[0\] is .*COCO file"),
        (output("a.jpg"), r"images\[0\] has no file"),
        (output(*[{"file": PICTURES[0], "detections": [DETECTION]}] * 2), r"images\[1\] lists .*"),
        (output({"file": PICTURES[0], "detections": [{"bbox": 1}, 2]}), "2 entries .* 'conf'"),
        (output({"file": PICTURES[0], "detections": []}), r"no box is left .*box of animal \(1\)"),
        ('{"images": [', "truncated"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_detections_is_named(tmp_path, value, message):
    assert re.search(message, complaint(detected(tmp_path, value)), re.S)


ANYTHING = st.sampled_from(
    [None, True, 0, -1, 2**70, 10**400, float("nan"), float("inf"), "", "\ud800", [], [1], {}]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), value=ANYTHING)
def test_an_output_with_anything_in_it_is_read_or_refused(tmp_path_factory, data, value):
    content = json.loads((FILES / "megadetector.json").read_text())
    place = content
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            place[key] = value
            break
        place = place[key]
    opened = detected(tmp_path_factory.mktemp("md"), json.dumps(content))
    try:
        samples = list(opened.samples())
    except TailproofError as error:
        assert "md.json" in str(error) or "no box is left" in str(error)
        return
    assert len(samples) == len(opened) > 0
    json.dumps([astuple(each) for each in opened.skipped()], ensure_ascii=False).encode()
    for sample in samples:
        with suppress(TailproofError):
            decode(opened.read(sample.path, sample.row))


def test_a_missing_output_is_named(tmp_path):
    opened = detected(tmp_path)
    (tmp_path / "md.json").unlink()
    assert "md.json does not exist" in complaint(opened)


def test_rows_of_a_table_are_boxes(tmp_path):
    rows = "a.png,cat,1,2,3,4,\na.png,dog,0,0,12,8,\nb.png,cat,2.5,0,1.2,2,\nb.png,cat,,,,,\n"
    opened = table(tmp_path, rows)
    samples = list(opened.samples())
    assert [sample.sample_id for sample in samples] == ["a.png:0", "a.png:1", "b.png:0"]
    assert [sample.labels["species"] for sample in samples] == ["cat", "dog", "cat"]
    assert [sample.group for sample in samples] == ["a.png", "a.png", "b.png"]
    whole = pixels_of(tmp_path / "a.png")
    assert np.array_equal(crop(opened, "a.png", 0), whole[2:6, 1:4])
    assert np.array_equal(crop(opened, "a.png", 1), whole)
    assert np.array_equal(crop(opened, "b.png", 0), pixels_of(tmp_path / "b.png")[0:2, 2:4])
    assert left_out(opened)["rows without a box"] == 1


def test_groups_with_boxes_in_one_picture_are_one(tmp_path):
    """Both animals of picture a are in picture b or c as well."""
    rows = "a.png,cat,0,0,2,2,p\na.png,dog,2,2,2,2,q\nb.png,dog,0,0,2,2,q\n"
    opened = table(tmp_path, rows, group="plot")
    assert len({sample.group for sample in opened.samples()}) == 1
    assert sum("'q'" in warning or "q" in warning for warning in opened.warnings()) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,cat,1,2,3,\n", "line 2 has 6 cells"),
        ("a.png,cat,1,2,3,,\n", "line 2 has '' in the column 'h' of its box"),
        ('a.png,cat,1,2,"3,5",4,\nb.png,cat,x,1,1,1,\n', "2 rows .*'3,5'.*'x'"),
    ],
)
def test_cells_that_are_no_numbers_are_named(tmp_path, rows, message):
    assert re.search(message, complaint(table(tmp_path, rows)), re.S)


def test_annotations_are_samples_of_their_own_categories(tmp_path):
    opened = coco(tmp_path, [1, 2, 3, 4], [0, 0, 12, 8], None, [])
    samples = list(opened.samples())
    assert [sample.sample_id for sample in samples] == ["a.png:0", "a.png:1"]
    assert [sample.labels["name"] for sample in samples] == ["even", "odd"]
    assert {sample.group for sample in samples} == {"a.png"}
    assert np.array_equal(crop(opened, "a.png", 0), pixels_of(tmp_path / "a.png")[2:6, 1:4])
    assert left_out(opened) == {"annotations without a box of one object": 2}


def test_crowds_are_no_samples(tmp_path):
    opened = coco(tmp_path, [1, 2, 3, 4], iscrowd=1)
    assert "annotations without a box of one object (1)" in complaint(opened)


def test_boxes_of_a_larger_copy_of_the_picture_are_scaled(tmp_path):
    """LILA offers smaller pictures with the boxes of the large ones."""
    opened = coco(tmp_path, [100, 200, 300, 400], size=(1200, 800))
    assert np.array_equal(crop(opened, "a.png", 0), pixels_of(tmp_path / "a.png")[2:6, 1:4])
    opened = coco(tmp_path, [100, 200, 300, 400], size=(1200, 801))
    assert np.array_equal(crop(opened, "a.png", 0), pixels_of(tmp_path / "a.png")[1:6, 1:4])


def test_relative_boxes_of_camera_traps_are_read(tmp_path):
    opened = coco(tmp_path, None, bbox_relative=[0.5, 0, 0.5, 0.5])
    assert np.array_equal(crop(opened, "a.png", 0), pixels_of(tmp_path / "a.png")[0:4, 6:12])


def test_fractions_in_the_place_of_pixels_are_read_with_a_warning(tmp_path):
    opened = coco(tmp_path, [0.5, 0, 0.5, 0.5], [0, 0, 1, 1])
    assert crop(opened, "a.png", 0).shape == (4, 6, 3)
    assert sum("fractions" in warning for warning in opened.warnings()) == 1


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([20, 0, 5, 5], "outside the picture of 12 × 8"),
        ([-5, 0, 5, 5], "outside the picture"),
        ([0, 0, 0, 5], "has no area"),
        ([0, 0, 5, -5], "has no area"),
        ([0, 0, float("nan"), 5], "not four numbers"),
        ([0, 0, float("inf"), 5], "not four numbers"),
        ([0, 0, "5", 5], "not four numbers"),
        ([0, 0, 5], "not four numbers"),
        ([0, 0, 10**400, 5], "not four numbers"),
        ({"x": 1}, "not four numbers"),
        ([0.1, 0.1, 0.5, 0.5], "fractions"),
    ],
)
def test_a_box_that_shows_nothing_is_a_bad_image(tmp_path, box, reason):
    opened = coco(tmp_path, box, [0, 0, 12, 8])
    assert len(opened) == 2
    with pytest.raises(TailproofError, match=reason):
        opened.read("a.png", 0)


def test_a_box_over_the_border_is_cut_and_counted(tmp_path):
    opened = coco(tmp_path, [8, 4, 40, 40], [0, 0, 12.5, 8.5], [0, 0, 2, 2], [0, 0, 3, 2])
    assert np.array_equal(crop(opened, "a.png", 0), pixels_of(tmp_path / "a.png")[4:8, 8:12])
    for number in (1, 2, 3):
        opened.read("a.png", number)
    warning = next(warning for warning in opened.warnings() if "border" in warning)
    assert warning.startswith("1 of 4 boxes") and "a.png:0" in warning and "?" not in warning


def test_a_picture_of_another_shape_is_refused(tmp_path):
    opened = coco(tmp_path, [1, 2, 3, 4], size=(8, 12))
    with pytest.raises(TailproofError, match="8 × 12 pixels, but the picture has 12 × 8"):
        opened.read("a.png", 0)


BOXES = st.tuples(st.floats(-5, 15), st.floats(-5, 15), st.floats(0.5, 20), st.floats(0.5, 20))


@settings(max_examples=200, deadline=None)
@given(numbers=BOXES, margin=st.floats(0, 2))
def test_a_crop_holds_every_pixel_of_its_box_and_none_far_from_it(numbers, margin):
    image = np.arange(80).reshape(8, 10)
    x, y, width, height = numbers
    inside = {
        int(image[row, column])
        for row in range(8)
        for column in range(10)
        if x + 0.01 < column + 1 and column < x + width - 0.01
        and y + 0.01 < row + 1 and row < y + height - 0.01
    }  # fmt: skip
    try:
        pixels, _ = cut(image, Box(x, y, width, height), margin)
    except TailproofError:
        assert max(width, height) <= 1 or not inside
        return
    shown = set(pixels.ravel().tolist())
    assert inside <= shown
    fractions = Box(x / 10, y / 8, width / 10, height / 8, FRACTIONS)
    assert np.array_equal(cut(image, fractions, margin)[0], pixels)
    for value in shown:
        row, column = divmod(value, 10)
        assert x - margin * width - 1 <= column <= x + width + margin * width
        assert y - margin * height - 1 <= row <= y + height + margin * height


def test_a_margin_is_a_share_of_the_box(tmp_path):
    pixels = np.arange(80, dtype=np.uint8).reshape(8, 10)
    part, _ = cut(pixels, Box(4, 2, 2, 4), 0.5)
    assert np.array_equal(part, pixels[0:8, 3:7])


def test_boxes_are_of_the_upright_picture(tmp_path):
    write_pictures(tmp_path, ["cat/a.png", "dog/a.png"], height=8, width=12)
    stored = Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12))
    exif = Image.Exif()
    exif[274] = 6  # turned to the right
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    (tmp_path / "cat/a.png").write_bytes(file.getvalue())
    value = output({"file": "cat/a.png", "detections": [{**DETECTION, "bbox": [0, 0, 1, 0.25]}]})
    opened = detected(tmp_path, value, pictures=["dog/b.png"])
    upright = pixels_of(tmp_path / "cat/a.png")
    assert upright.shape == (12, 8)
    assert np.array_equal(decode(opened.read("cat/a.png", 0)), upright[:3])


def test_arrays_of_bands_stay_arrays(tmp_path):
    bands = np.random.default_rng(0).normal(size=(8, 12, 5)).astype(np.float32)
    opened = table(tmp_path, "a.npy,cat,1,2,3,4,\nb.png,dog,1,1,4,4,\n")
    (tmp_path / "a.npy").write_bytes(encode_bands(bands))
    assert np.array_equal(decode(opened.read("a.npy", 0)), bands[2:6, 1:4])


def test_what_pixels_leave_out_of_a_picture_is_reported(tmp_path):
    opened = table(tmp_path, "a.png,cat,1,2,3,4,\nb.png,dog,1,1,4,4,\n")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    opened.read("a.png", 0)
    assert (
        sum("transparent" in warning and "a.png" in warning for warning in opened.warnings()) == 1
    )


@pytest.mark.parametrize(
    "options",
    [
        {"name": "image_folder"},
        {"name": "image_list", "list": "a"},
        {"name": "metadata_csv", "table": "a"},
        {"name": "metadata_csv", "table": "a", "box": list("xyw")},
        {"name": "metadata_csv", "table": "a", "box": list("xywh"), "crops": {"detections": "b"}},
        {"name": "image_folder", "crops": {"detections": "../b"}},
        {"name": "image_folder", "crops": {"detections": "b", "margin": -1}},
        {"name": "image_folder", "crops": {"detections": "b", "min_confidence": 20.0}},
        {"name": "digits", "crops": {"detections": "b"}},
    ],
)
def test_a_contradictory_configuration_is_refused(options):
    values = {"root": "x", "crops": {}, **options}
    if options["name"] == "digits":
        del values["root"]
    with pytest.raises(ValidationError):
        Data(source=values)


def test_crops_go_through_the_stages(tmp_path):
    """One group for each picture, whole in its split; the bytes are those of the crop."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    names = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(12)]
    boxes = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1], [2, 2, 1, 1]]
    pictures = [
        {"file": name, "detections": [{**DETECTION, "bbox": box} for box in boxes]}
        for name in names
    ]
    detected(raw, output(*pictures), pictures=names)
    source = {"name": "image_folder", "root": str(raw), "crops": {"detections": "md.json"}}
    data = Data(source=source, on_bad_image="skip", max_bad_share=0.5)
    prepare(data, out / "samples.parquet")
    samples = read_parquet(out / "samples.parquet").to_pandas()
    assert len(samples) == 48
    assert set(zip(samples["height"], samples["width"], strict=True)) == {(8, 6)}
    bad = (out / "bad_images.csv").read_text().splitlines()
    assert len(bad) == 25 and bad[1].startswith("cat/0.png,2,")
    split(out / "samples.parquet", data, out / "splits.parquet", out / "splits.json")
    splits = read_parquet(out / "splits.parquet").to_pandas().merge(samples, on="sample_id")
    assert (splits.groupby("path")["split"].nunique() == 1).all()
    paths = out / "samples.parquet", out / "splits.parquet"
    shard(*paths, data, "train", 0, out / "train.parquet", out / "train.json")
    row = read_parquet(out / "train.parquet").to_pylist()[0]
    path, number = row["sample_id"].split(":")
    whole = pixels_of(raw / path)
    half = whole[:, :6] if number == "0" else whole[:, 6:]
    assert row["image"]["bytes"] == encode_png(half)
