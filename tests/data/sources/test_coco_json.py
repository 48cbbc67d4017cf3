"""JSON files in the format of COCO: iNaturalist, COCO Camera Traps, and detection sets."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tailproof.data.images import decode
from tailproof.data.sources import Source, open_source
from tailproof.data.sources.coco_json import CocoJson
from tailproof.runtime.errors import TailproofError
from tests.data.sources.opened import complaint, left_out
from tests.data.sources.pictures import write_pictures

FILES = Path(__file__).parents[2] / "field" / "coco"


def content(name: str) -> dict[str, Any]:
    return json.loads((FILES / f"{name}.json").read_text())


def published(root: Path, name: str, folder: str = ".", **options) -> Source:
    """A collection as it is published, with its pictures."""
    shutil.copy(FILES / f"{name}.json", root)
    write_pictures(root / folder, [image["file_name"] for image in content(name)["images"]])
    return source(root, file=f"{name}.json", images=folder, **options)


def source(root: Path, **options) -> Source:
    return open_source(CocoJson(name="coco_json", root=str(root), **options))


def changed(root: Path, change: Callable[[dict[str, Any]], Any], **options) -> Source:
    """The camera traps with something else in their file."""
    published(root, "caltech_camera_traps")
    value = content("caltech_camera_traps")
    change(value)
    (root / "x.json").write_text(json.dumps(value))
    return source(root, file="x.json", **options)


def test_inaturalist_has_a_taxonomy(tmp_path):
    opened = published(tmp_path, "inat2021_val")
    samples = list(opened.samples())
    assert opened.ranks == ("kingdom", "phylum", "class", "order", "family", "genus", "name")
    assert samples[0].labels == {
        "kingdom": "Animalia",
        "phylum": "Annelida",
        "class": "Clitellata",
        "order": "Haplotaxida",
        "family": "Lumbricidae",
        "genus": "Lumbricus",
        "name": "Lumbricus terrestris",
    }
    assert (
        samples[0].sample_id == samples[0].path == content("inat2021_val")["images"][0]["file_name"]
    )
    assert [sample.group for sample in samples] == [None] * 3
    assert opened.classes["name"] == ["Lumbricus terrestris", "Morus alba", "Morus bassanus"]
    assert left_out(opened) == {"categories without a sample": 1}


def test_a_genus_in_two_kingdoms_is_two_classes(tmp_path):
    opened = published(tmp_path, "inat2021_val")
    assert opened.classes["genus"] == ["Lumbricus", "Morus (Moraceae)", "Morus (Sulidae)"]
    assert sum("'Morus'" in warning for warning in opened.warnings()) == 1


@pytest.mark.parametrize("extra", [[], ["val"]])
def test_official_sets_are_pools_with_their_own_identifiers(tmp_path, extra):
    published(tmp_path, "inat2021_val")
    pools = {}
    for name in ["train", *extra, "test"]:
        value = content("inat2021_val")
        for image in value["images"]:
            image["file_name"] = image["file_name"].replace("val/", f"{name}/")
        for category in value["categories"]:
            category["id"] = category["id"] + 100 * (name == "test")
        for annotation in value["annotations"]:
            annotation["category_id"] = annotation["category_id"] + 100 * (name == "test")
        write_pictures(tmp_path, [image["file_name"] for image in value["images"]])
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
        pools[name] = {"file": f"{name}.json"}
    opened = source(tmp_path, **pools)
    names = {"train": "train", "val": "val", "test": "held_out"}
    assert [sample.pool for sample in opened.samples()] == [
        n for p in pools for n in [names[p]] * 3
    ]
    assert len(opened.classes["name"]) == 3
    assert opened.files() == [tmp_path / f"{name}.json" for name in pools]


def test_names_that_were_published_later_replace_the_others(tmp_path):
    """iNaturalist 2018 hid all names at first."""
    hidden = content("inat2021_val")
    for category in hidden["categories"]:
        category |= {"name": str(category["id"]), "supercategory": "x", "genus": category["id"]}
    published(tmp_path, "inat2021_val")
    (tmp_path / "train2018.json").write_text(json.dumps(hidden))
    categories = content("inat2021_val")["categories"]
    (tmp_path / "categories.json").write_text(json.dumps(categories))
    opened = source(tmp_path, file="train2018.json", ranks=["name"])
    assert opened.classes == {"name": ["0", "2", "3"]}
    opened = source(
        tmp_path, file="train2018.json", categories="categories.json", ranks=["genus", "name"]
    )
    assert opened.classes["name"] == ["Lumbricus terrestris", "Morus alba", "Morus bassanus"]
    assert tmp_path / "categories.json" in opened.files()


def test_camera_traps_have_sequences_as_groups(tmp_path):
    opened = published(tmp_path, "caltech_camera_traps", "cct_images")
    samples = {sample.path[11:15]: sample for sample in opened.samples()}
    assert opened.ranks == ("name",)
    assert {path: sample.labels["name"] for path, sample in samples.items()} == {
        "59f5": "bobcat",
        "5968": "coyote",
        "5b0c": "empty",
    }
    assert samples["5968"].group == "6f084ccc-5567-11e8-bc84-dca9047ef277"
    assert left_out(opened) == {
        "categories without a sample": 1,
        "images with annotations of several categories": 1,
    }
    (warning,) = opened.warnings()
    assert "location" in warning and "2 places" in warning


def test_the_first_category_may_be_taken(tmp_path):
    opened = published(tmp_path, "caltech_camera_traps", on_several_categories="first")
    labels = {sample.path[:4]: sample.labels["name"] for sample in opened.samples()}
    assert labels["58a1"] == "bobcat"
    assert "images with annotations of several categories" not in left_out(opened)
    assert sum("1 image with annotations of several" in each for each in opened.warnings()) == 1


@pytest.mark.parametrize(
    ("group", "groups"), [("location", ["38", "38", "26"]), (None, [None] * 3)]
)
def test_other_groups(tmp_path, group, groups):
    opened = published(tmp_path, "caltech_camera_traps", group=group)
    assert [sample.group for sample in opened.samples()] == groups
    assert (group is None) == any("location" in warning for warning in opened.warnings())


def test_splits_by_place(tmp_path):
    shutil.copy(FILES / "caltech_camera_traps_splits.json", tmp_path)
    opened = published(tmp_path, "caltech_camera_traps", splits="caltech_camera_traps_splits.json")
    pools = {sample.path[:4]: sample.pool for sample in opened.samples()}
    assert pools == {"59f5": "train", "5968": "train", "5b0c": "held_out"}
    assert sum("held out" in warning for warning in opened.warnings()) == 1
    assert tmp_path / "caltech_camera_traps_splits.json" in opened.files()


def test_a_class_that_only_the_test_set_has_is_no_class(tmp_path):
    """Rare species are at few places."""
    shutil.copy(FILES / "caltech_camera_traps_splits.json", tmp_path)
    opened = published(tmp_path, "caltech_camera_traps", splits="caltech_camera_traps_splits.json")
    assert opened.classes == {"name": ["bobcat", "coyote"]}
    assert [sample.labels["name"] for sample in opened.samples()] == ["bobcat", "coyote", None]
    warnings = [warning for warning in opened.warnings() if "rank 'name'" in warning]
    assert ["empty" in warning and "1 sample" in warning for warning in warnings] == [True, False]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": ["38"], "val": ["38"]}, "1 place in two splits: '38'"),
        ({"train": ["38"], "cis": ["26"]}, "the splits 'train', 'cis'"),
        ({"train": ["38"]}, "the splits 'train', expected"),
        ({"train": ["a"], "val": ["b"]}, "no image is left.*no split lists \\(3\\)"),
        ({"train": ["38"], "val": ["b"]}, "in one split"),
        (["38"], "has no splits"),
    ],
)
def test_splits_that_do_not_fit_are_refused(tmp_path, splits, message):
    (tmp_path / "s.json").write_text(json.dumps({"splits": splits}))
    opened = published(tmp_path, "caltech_camera_traps", splits="s.json")
    assert re.search(message, complaint(opened))


def test_labels_of_sequences_and_corrupt_images_are_counted(tmp_path):
    opened = published(tmp_path, "snapshot_serengeti", group="location")
    assert [sample.labels["name"] for sample in opened.samples()] == ["zebra", "zebra", "empty"]
    assert [sample.group for sample in opened.samples()] == ["B04", "B04", "B05"]
    assert left_out(opened) == {
        "categories without a sample": 2,
        "images that the file calls corrupt": 1,
    }
    (warning,) = opened.warnings()
    assert "4 of 4 annotations" in warning and "sequence_level_annotation" in warning


def test_a_category_may_mean_that_there_is_no_label(tmp_path):
    opened = published(tmp_path, "snapshot_serengeti", missing={"name": ["empty"]})
    assert opened.classes == {"name": ["zebra"]}
    assert [sample.labels["name"] for sample in opened.samples()] == ["zebra", "zebra", None]


@pytest.mark.parametrize(
    ("supercategories", "ranks"),
    [
        (["wild", "wild", "none", "none"], ("supercategory", "name")),
        (["animal"] * 4, ("name",)),
        (["bobcat", "coyote", "empty", "car"], ("name",)),
        (["", "", "", ""], ("name",)),
    ],
)
def test_a_supercategory_is_a_rank_if_it_says_something(tmp_path, supercategories, ranks):
    def change(value):
        for category, name in zip(value["categories"], supercategories, strict=True):
            category["supercategory"] = name

    assert changed(tmp_path, change).ranks == ranks


def edit(key: str, place: int, **fields):
    """Set fields of an entry; None removes a field."""

    def change(value):
        value[key][place] |= fields
        value[key][place] = {k: v for k, v in value[key][place].items() if v is not None}

    return change


def append(key: str, **fields):
    return lambda value: value[key].append(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("images", 0, file_name=None), r"images\[0\] .*no file_name"),
        (edit("images", 0, file_name=7), r"images\[0\] .*no file_name"),
        (edit("images", 0, file_name="/abs/x.jpg"), "'/abs/x.jpg', which is an absolute path"),
        (edit("images", 0, file_name="C:\\abs\\x.jpg"), "is an absolute path"),
        (edit("images", 0, file_name="../x.jpg"), "outside the folder of images"),
        (edit("images", 0, file_name="x.jpg"), "x.jpg does not exist .*1 of 3"),
        (edit("images", 0, file_name="\ud800.jpg"), "no file can have"),
        (edit("images", 0, file_name="\0.jpg"), "no file can have"),
        (edit("images", 0, file_name="x" * 9999), "does not exist .*1 of 3"),
        (edit("images", 0, file_name="x" * 9999 + "/y.jpg"), "does not exist .*1 of 3"),
        (edit("images", 0, seq_id="\ud800"), "'seq_id' contains incomplete characters"),
        (edit("categories", 0, name="\ud800"), "'name' contains incomplete characters"),
        (edit("images", 0, id=None), r"images\[0\] .*has no id"),
        (edit("images", 0, id=[1]), r"images\[0\] .*has no id"),
        (edit("images", 0, id="5968c0f9-23d2-11e8-a6a3-ec086b02610b"), r"images\[1\] .*same id"),
        (edit("annotations", 0, image_id=None), r"annotations\[0\] .*has no image_id"),
        (edit("annotations", 0, category_id=None), r"annotations\[0\] .*has no category_id"),
        (edit("categories", 0, id=None), r"categories\[0\] .*has no id"),
        (edit("categories", 0, id=7), r"categories\[1\] \('coyote'\) .*'bobcat'"),
        (lambda value: value.pop("categories"), "no array 'categories'.*data.source.categories"),
        (lambda value: value.pop("annotations"), "no array 'annotations'.*test set"),
        (lambda value: value.update(images={"a": 1}), "no array 'images'"),
        (lambda value: value.update(images=[], annotations=[]), "no image is left"),
        (lambda value: value.update(annotations=[]), "no image is left.*annotation \\(4\\)"),
        (lambda value: value["images"].append("x.jpg"), r"images\[4\] is not an object"),
        (lambda value: [image.pop("file_name") for image in value["images"]], "4 entries cannot"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, change, message):
    assert re.search(message, complaint(changed(tmp_path, change)), re.S)


@pytest.mark.parametrize(
    ("change", "reason", "count"),
    [
        (append("annotations", id="z", image_id="none", category_id=6),
         "annotations of images that are not listed", 1),
        (append("images", id="z", file_name="58a1f4b3-23d2-11e8-a6a3-ec086b02610b.jpg"),
         "images without an annotation", 1),
        (edit("annotations", 2, category_id=99),
         "images with an annotation of a category that is not listed", 1),
        (edit("images", 0, corrupt=True), "images that the file calls corrupt", 1),
        (append("categories", id=99, name="deer"), "categories without a sample", 2),
        (lambda value: value["images"].pop(1), "images that no file lists", 1),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_counted(tmp_path, change, reason, count):
    assert left_out(changed(tmp_path, change))[reason] == count


def test_half_a_character_in_what_is_left_out_can_be_written(tmp_path):
    def change(value):
        value["images"].append({"id": "z", "file_name": "\ud800.jpg"})
        value["categories"].append({"id": 99, "name": "\ud800"})

    skipped = changed(tmp_path, change).skipped()
    assert sum("ud800" in example for each in skipped for example in each.examples) == 2
    json.dumps([astuple(each) for each in skipped], ensure_ascii=False).encode()


def test_identifiers_twice_are_reported(tmp_path):
    def change(value):
        value["images"].append(value["images"][0])
        value["annotations"].append(value["annotations"][0])
        value["categories"].append(value["categories"][0])

    opened = changed(tmp_path, change)
    assert len(opened) == 3
    assert sum("same id" in warning for warning in opened.warnings()) == 2


def test_an_image_under_two_identifiers_is_refused(tmp_path):
    def change(value):
        value["images"].append(value["images"][0] | {"id": "other"})
        value["annotations"].append({"id": "b", "image_id": "other", "category_id": 7})

    assert "is listed under another id" in complaint(changed(tmp_path, change))


@pytest.mark.parametrize("crops", [None, {}])
def test_an_image_in_two_sets_is_refused(tmp_path, crops):
    published(tmp_path, "caltech_camera_traps")
    pools = {name: {"file": f"{name}.json"} for name in ("train", "test")}
    for name in pools:
        shutil.copy(FILES / "caltech_camera_traps.json", tmp_path / f"{name}.json")
    message = complaint(source(tmp_path, **pools, crops=crops))
    assert re.search(r"test\.json, image .* is listed in .*train\.json as well", message)


def test_numbers_and_texts_are_one_identifier(tmp_path):
    def change(value):
        for place, image in enumerate(value["images"]):
            for annotation in value["annotations"]:
                if annotation["image_id"] == image["id"]:
                    annotation["image_id"] = str(place)
                annotation["category_id"] = str(annotation["category_id"])
            image["id"] = place

    opened = changed(tmp_path, change)
    assert [sample.labels["name"] for sample in opened.samples()] == ["bobcat", "coyote", "empty"]


def test_file_names_of_windows_and_of_another_machine_are_found(tmp_path):
    def change(value):
        for image in value["images"]:
            image["file_name"] = "D:\\traps\\" + image["file_name"]

    opened = changed(tmp_path, change)
    assert [sample.path[:4] for sample in opened.samples()] == ["59f5", "5968", "5b0c"]
    assert sum("'D:/traps/'" in warning for warning in opened.warnings()) == 1


def test_missing_images_may_be_left_out(tmp_path):
    opened = changed(tmp_path, edit("images", 0, file_name="x.jpg"), on_missing_image="skip")
    assert len(opened) == 2
    assert left_out(opened)["listed images that do not exist"] == 1


def test_two_categories_of_one_name_are_one_class(tmp_path):
    opened = changed(tmp_path, edit("categories", 1, name="bobcat"))
    labels = [sample.labels["name"] for sample in opened.samples()]
    assert labels == ["bobcat", "bobcat", "empty", "bobcat"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "sequence"}, r"no field 'sequence'.*their fields are: .*seq_id"),
        ({"ranks": ["genus", "name"]}, "no field 'genus'"),
    ],
)
def test_a_field_that_is_not_there_is_named(tmp_path, options, message):
    assert re.search(message, complaint(published(tmp_path, "caltech_camera_traps", **options)))


def test_a_field_without_a_value_is_not_called_absent(tmp_path):
    text = complaint(changed(tmp_path, edit("images", 0, site=""), group="site"))
    assert re.search(r"no image has a value in the field 'site'.*data\.source\.group", text)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train": {"file": "a"}},
        {"file": "a", "test": {"file": "b"}},
        {"file": "a", "train": {"file": "b"}, "test": {"file": "c"}},
        {"images": "x", "train": {"file": "b"}, "test": {"file": "c"}},
        {"splits": "s", "train": {"file": "b"}, "test": {"file": "c"}},
        {"file": "/a"},
        {"file": "a", "ranks": []},
    ],
)
def test_a_contradictory_configuration_is_refused(tmp_path, options):
    with pytest.raises(ValidationError):
        source(tmp_path, **options)


ANYTHING = st.sampled_from(
    [None, True, 0, -1, 7, 2**70, 1.5, float("nan"), float("inf"), "", "7", "\ud800", [], [1], {}]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), value=ANYTHING, crops=st.sampled_from([None, {}]))
def test_a_file_with_anything_in_it_is_read_or_refused(tmp_path_factory, data, value, crops):
    root = tmp_path_factory.mktemp("coco")
    file = content("caltech_camera_traps")
    write_pictures(root, [image["file_name"] for image in file["images"]], height=8, width=12)
    for _ in range(data.draw(st.integers(1, 3))):
        entries = file[data.draw(st.sampled_from(["images", "annotations", "categories"]))]
        place = data.draw(st.integers(0, len(entries) - 1))
        field = data.draw(st.sampled_from([None, *sorted(content_fields(entries))]))
        if field is None:
            entries[place] = deepcopy(value)
        elif isinstance(entries[place], dict):
            entries[place][field] = deepcopy(value)
    (root / "x.json").write_text(json.dumps(file))
    opened = source(root, file="x.json", crops=crops)
    try:
        samples = list(opened.samples())
    except TailproofError as error:
        assert "x.json" in str(error) or str(root) in str(error)
        return
    assert samples and len(samples) == len(opened)
    assert {name for sample in samples for name in sample.labels.values()} - {None} == set(
        opened.classes[opened.ranks[-1]]
    ) or len(opened.ranks) > 1
    notes = [astuple(skipped) for skipped in opened.skipped()], opened.warnings()
    json.dumps(notes, ensure_ascii=False).encode()
    for sample in samples:
        with suppress(TailproofError):
            decode(opened.read(sample.path, sample.row))


def content_fields(entries: list) -> set[str]:
    return {field for entry in entries if isinstance(entry, dict) for field in entry}
