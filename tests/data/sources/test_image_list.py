"""Lists with an image and its label in each line."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tailproof.data.sources import open_source
from tailproof.data.sources.image_list import ImageList, ImageListSource
from tailproof.data.sources.tables.label_list import LabelList
from tests.data.sources.opened import complaint, left_out
from tests.data.sources.pictures import write_pictures

TRAIN = """\
train/n01440764/n01440764_190.JPEG 0
train/n01440764/n01440764_191.JPEG 0
train/n01443537/n01443537_2.JPEG 1
train/n01484850/n01484850_3.JPEG 2
"""
VAL = "train/n01440764/n01440764_7.JPEG 0\ntrain/n01443537/n01443537_7.JPEG 1\n"
TEST = """\
val/ILSVRC2012_val_00000001.JPEG 2
val/ILSVRC2012_val_00000002.JPEG 1
val/ILSVRC2012_val_00000003.JPEG 0
"""
LISTS = {"train": TRAIN, "val": VAL, "test": TEST}


def images_of(text: str) -> list[str]:
    return [line.rsplit(maxsplit=1)[0] for line in text.splitlines()]


def imagenet_lt(root: Path, **lists: str) -> ImageListSource:
    """ImageNet-LT as it is published, with other content in some lists."""
    texts = {**LISTS, **lists}
    pools = {}
    for name, text in texts.items():
        (root / f"ImageNet_LT_{name}.txt").write_text(text)
        write_pictures(root, images_of(LISTS[name]))
        pools[name] = {"list": f"ImageNet_LT_{name}.txt"}
    return source(root, **pools)


def source(root: Path, **options) -> ImageListSource:
    return open_source(ImageList(name="image_list", root=str(root), **options))


def one_list(root: Path, text: str | bytes, images: list[str], **options) -> ImageListSource:
    (root / "all.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    write_pictures(root, images)
    return source(root, list="all.txt", **options)


def pairs(opened: ImageListSource) -> dict[str, str | None]:
    return {sample.path: sample.labels["class"] for sample in opened.samples()}


def test_published_lists_are_the_pools(tmp_path):
    opened = imagenet_lt(tmp_path)
    samples = list(opened.samples())
    assert len(opened) == len(samples) == 9
    assert [sample.pool for sample in samples] == ["train"] * 4 + ["val"] * 2 + ["held_out"] * 3
    assert samples[0].sample_id == samples[0].path == "train/n01440764/n01440764_190.JPEG"
    assert samples[-1].labels == {"class": "0"}
    assert opened.classes == {"class": ["0", "1", "2"]}
    assert opened.files() == [tmp_path / f"ImageNet_LT_{name}.txt" for name in LISTS]
    assert opened.skipped() == []
    assert opened.warnings() == []


@pytest.mark.parametrize(
    "text",
    [
        "my photos/a b.jpg 0\nmy photos/c.jpg 1\n",
        "my photos/a b.jpg\t0\nmy photos/c.jpg\t1\n",
        "my photos/a b.jpg,0\r\nmy photos/c.jpg,1\r\n",
        '"my photos/a b.jpg", 0\n"my photos/c.jpg", 1',
        "my photos/a b.jpg;0\nmy photos/c.jpg;1\n",
        "\ufeffmy photos/a b.jpg 0\r\n\r\n# a comment\r\nmy photos/c.jpg   1  \r\n\r\n",
        "my photos\\a b.jpg 0\nmy photos\\c.jpg 1\n",
        "./my photos/a b.jpg 0\n./my photos/c.jpg 1\n",
    ],
)
def test_lines_are_read_as_people_write_them(tmp_path, text):
    opened = one_list(tmp_path, text, ["my photos/a b.jpg", "my photos/c.jpg"])
    assert pairs(opened) == {"my photos/a b.jpg": "0", "my photos/c.jpg": "1"}
    assert sum(left_out(opened).values()) == text.count("#")
    assert opened.warnings() == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_other_encodings_and_names_are_read(tmp_path, encoding):
    text = "fotos/überall.png Rotfuchs, männlich\nfotos/b.png red fox\n"
    opened = one_list(tmp_path, text.encode(encoding), ["fotos/überall.png", "fotos/b.png"])
    assert pairs(opened) == {"fotos/überall.png": "Rotfuchs, männlich", "fotos/b.png": "red fox"}
    assert opened.classes == {"class": ["Rotfuchs, männlich", "red fox"]}


def test_names_without_suffix_end_at_the_last_field(tmp_path):
    opened = one_list(tmp_path, "cam 1/a 7\ncam 1/b 8\n", ["cam 1/a.png", "cam 1/b.png"])
    assert pairs(opened) == {"cam 1/a.png": "7", "cam 1/b.png": "8"}


LABEL = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    folder=st.text("ab c,.;-'", max_size=8).map(str.strip),
    labels=st.lists(LABEL, min_size=2, max_size=5),
    separator=st.sampled_from([" ", "\t", ",", ";"]),
)
def test_paths_with_any_separator_inside_are_read(tmp_path_factory, folder, labels, separator):
    file = tmp_path_factory.mktemp("lists") / "x.txt"
    expected = [(f"x{folder}/{n}.jpg", label) for n, label in enumerate(labels)]
    file.write_text("".join(f"{path}{separator}{label}\n" for path, label in expected))
    assert [(entry.path, entry.label) for entry in LabelList(file).entries()] == expected


def test_folders_of_another_machine_are_left_out(tmp_path):
    text = TRAIN.replace("train/", "/scratch/somebody/ImageNet/train/")
    opened = imagenet_lt(tmp_path, train=text)
    assert [sample.path for sample in opened.samples()][:4] == images_of(TRAIN)
    assert sum("'/scratch/somebody/ImageNet/'" in warning for warning in opened.warnings()) == 1


def test_a_folder_of_images_and_pools_of_different_folders(tmp_path):
    write_pictures(tmp_path, ["big/a.jpg", "big/b.jpg", "small/a.jpg", "small/b.jpg"])
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/one.txt").write_text("a.jpg 0\nb.jpg 1\n")
    pools = {
        "train": {"list": "lists/one.txt", "images": "big"},
        "test": {"list": "lists/one.txt", "images": "small"},
    }
    assert list(pairs(source(tmp_path, **pools))) == [
        "big/a.jpg", "big/b.jpg", "small/a.jpg", "small/b.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", "tench\ngoldfish\ngreat white shark\n"),
        ("names.txt", "tench 0\ngoldfish 1\ngreat white shark 2\n\n"),
        ("names.txt", "# label name\n0 tench\n1: goldfish\n2, great white shark\n"),
        ("names.json", ["tench", "goldfish", "great white shark"]),
        ("names.json", {"2": "great white shark", "0": "tench", "1": "goldfish"}),
        ("names.json", {"tench": 0, "goldfish": 1, "great white shark": 2}),
        ("names.json", {"0": ["n1", "tench"], "1": ["n2", "goldfish"],
                        "2": ["n3", "great white shark"]}),
    ],
)  # fmt: skip
def test_classes_have_names(tmp_path, file, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / file).write_text(text)
    images = ["a.jpg", "b.jpg", "c.jpg"]
    opened = one_list(tmp_path, "a.jpg 2\nb.jpg 0\nc.jpg 1\n", images, names=file)
    assert opened.classes == {"class": ["tench", "goldfish", "great white shark"]}
    assert list(pairs(opened).values()) == ["great white shark", "tench", "goldfish"]
    assert tmp_path / file in opened.files()


def test_two_labels_with_one_name_stay_two_classes(tmp_path):
    """ImageNet has two cranes, the bird and the machine."""
    (tmp_path / "names.txt").write_text("crane\nmaillot\ncrane\n")
    opened = one_list(
        tmp_path, "a.jpg 0\nb.jpg 2\nc.jpg 1\n", ["a.jpg", "b.jpg", "c.jpg"], names="names.txt"
    )
    assert opened.classes == {"class": ["crane (0)", "maillot", "crane (2)"]}


def test_a_label_without_a_name_is_refused(tmp_path):
    (tmp_path / "names.txt").write_text("tench\ngoldfish\n")
    opened = one_list(tmp_path, "a.jpg 1\nb.jpg 2\n", ["a.jpg", "b.jpg"], names="names.txt")
    message = complaint(opened)
    assert re.search(r"names\.txt has 2 names, but none for '2'.*from 1", message)


def test_gaps_between_labels_are_reported(tmp_path):
    text = "a.jpg 1\nb.jpg 2\nc.jpg 1000000000\n"
    opened = one_list(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg"])
    assert opened.classes == {"class": ["1", "2", "1000000000"]}
    (warning,) = opened.warnings()
    assert "999,999,997 labels" in warning and "3, 4, 5" in warning


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"test": TEST.replace(" 2", " 3")},
            r"1 label of val .*'3'.*add \['3'\] to .*missing",
        ),
        (
            {"val": TRAIN},
            r"_val.txt, line 1 .*another set .*ImageNet_LT_train.txt, line 1",
        ),
        ({"train": TRAIN + TRAIN.replace(" 0", " 2")}, "train.txt, line 5 .*'2'.*line 1 has '0'"),
        ({"train": TRAIN + "train/x.JPEG 0\n"}, r"line 5: .*train/x\.JPEG .*1 of 5"),
        ({"train": TRAIN + "train/x.JPEG\n../x.JPEG 1\n"}, "2 lines .*\n.*line 5 .*\n.*line 6 "),
        ({"train": "image label\n" + TRAIN}, "line 1 is a header .*metadata_csv"),
        ({"train": TRAIN.replace(" 0", " 0 1")}, r"2 lines .*\n.*line 1 has several labels"),
        ({"train": "# nothing\n", "val": "", "test": ""}, "no image with a label is left"),
        ({"train": "{'a': 1}"}, "is JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changed, message):
    assert re.search(message, complaint(imagenet_lt(tmp_path, **changed)))


def test_classes_that_are_not_tested_are_reported(tmp_path):
    (warning,) = imagenet_lt(tmp_path, test=TEST.replace(" 2", " 1")).warnings()
    assert "'2'" in warning


def test_a_line_that_is_there_twice_is_counted(tmp_path):
    opened = imagenet_lt(tmp_path, train=TRAIN + TRAIN)
    assert len(opened) == 9
    assert left_out(opened) == {"lines that repeat another one": 4}


def test_missing_images_may_be_left_out(tmp_path):
    text = "a.jpg 0\nb.jpg 1\nc.jpg 1\n"
    opened = one_list(tmp_path, text, ["a.jpg", "b.jpg"], on_missing_image="skip")
    assert pairs(opened) == {"a.jpg": "0", "b.jpg": "1"}
    assert left_out(opened) == {"listed images that do not exist": 1}


def test_unlisted_images_are_counted(tmp_path):
    opened = one_list(tmp_path, "a.jpg 0\nb.jpg 1\n", ["a.jpg", "b.jpg", "c.jpg"])
    assert left_out(opened) == {"images that no list names": 1}


def test_labels_of_unknown_classes_need_a_decision(tmp_path):
    """ImageNet-LT's open set has the label -1."""
    open_set = TEST.replace(" 2", " -1")
    assert "'-1'" in complaint(imagenet_lt(tmp_path, test=open_set))
    pools = {name: {"list": f"ImageNet_LT_{name}.txt"} for name in LISTS}
    opened = source(tmp_path, **pools, missing=["-1"])
    assert [sample.labels["class"] for sample in opened.samples()][-3:] == [None, "1", "0"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train": {"list": "a"}},
        {"list": "a", "test": {"list": "b"}},
        {"list": "a", "train": {"list": "b"}, "test": {"list": "c"}},
        {"images": "x", "train": {"list": "b"}, "test": {"list": "c"}},
        {"list": "../a"},
        {"list": "a", "crops": {}},
    ],
)
def test_a_contradictory_configuration_is_refused(tmp_path, options):
    with pytest.raises(ValidationError):
        source(tmp_path, **options)
