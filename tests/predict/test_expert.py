"""`tailproof.open`: images as people have them, and the table of answers."""

import ast
import csv
import io
import subprocess
import sys
import warnings
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import tailproof
from tailproof.predict.command import predict_images
from tailproof.runtime.errors import TailproofError
from tests.predict.conftest import make_expert

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def expert(colour_expert):
    return tailproof.open(colour_expert)


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    return tailproof.open(make_expert(tmp_path_factory.mktemp("grey"), mode="L", shape=(1, 32, 32)))


@pytest.fixture
def file(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def close(found, expected) -> None:
    """The last bits depend on the number of images in a batch."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def probabilities(expert, images) -> np.ndarray:
    table = expert.predict(images, probabilities=True)
    assert table["error"].isna().all()
    return table[[f"{expert.target}={name}" for name in expert.classes]].to_numpy()


def test_to_import_the_package_loads_no_package_of_others():
    code = "import sys, tailproof; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pandas", "torch"} & set(done.stdout.split())
    assert tailproof.__all__ == ["open", "results"]
    with pytest.raises(AttributeError):
        _ = tailproof.shut


def test_the_table_is_the_one_that_the_command_writes(expert, colour_expert, file, capsys):
    predict_images(str(colour_expert), [str(file)], as_csv=True, rule="chow", coverage=None)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    (table,) = expert.predict(file, probabilities=True).to_dict("records")
    assert table.pop("error") is None and list(table) == list(row)
    for name, value in table.items():
        assert row[name] == (f"{value:.7g}" if isinstance(value, float) else value)


def test_an_image_is_the_same_in_every_form(expert, file, tmp_path):
    expected = probabilities(expert, file)
    forms = [
        str(file),
        [file],
        PIXELS,
        PIXELS[None],
        [PIXELS[::1]],
        Image.open(file),
        np.array([str(file)]),
        pd.Series([str(file)]),
        (path for path in [file]),
        tmp_path,
    ]
    for form in forms:
        close(probabilities(expert, form), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_pictures_in_memory_are_read_as_their_files(expert, grey, tmp_path, mode):
    picture = Image.fromarray(PIXELS).convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(PIXELS[:, :, 1]))
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    picture.save(path)
    for opened in (expert, grey):
        given = [path, Image.open(path), picture]
        if mode in ("L", "RGB", "RGBA"):
            given.append(np.asarray(picture))
        found = probabilities(opened, given)
        close(found, np.repeat(found[:1], len(given), axis=0))


def test_the_orientation_of_a_picture_in_memory_is_applied(expert, tmp_path):
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.jpg"
        Image.fromarray(PIXELS).save(path, exif=exif)
        first, second = probabilities(expert, [path, Image.open(path)])
        close(first, second)


def test_grey_images(grey, tmp_path):
    pixels = PIXELS[:, :, 0]
    Image.fromarray(pixels).save(tmp_path / "g.png")
    forms = [tmp_path / "g.png", pixels, pixels[:, :, None], np.repeat(pixels[..., None], 3, 2)]
    found = probabilities(grey, forms)
    close(found, np.repeat(found[:1], 4, axis=0))
    close(probabilities(grey, pixels), found[:1])


def test_bands(tmp_path):
    expert = tailproof.open(make_expert(tmp_path / "expert", mode="float32", shape=(5, 24, 24)))
    bands = np.random.default_rng(0).normal(size=(24, 24, 5))
    np.save(tmp_path / "a.npy", bands)
    first, second = probabilities(expert, [tmp_path / "a.npy", bands])
    close(first, second)
    bands[3, 4, 0] = np.nan
    for wrong in (bands, PIXELS, Image.fromarray(PIXELS), bands.astype(str)):
        with pytest.raises(TailproofError, match=r"^image 0: "):
            expert.predict([wrong])


REFUSED = {
    "a table": pd.DataFrame({"photo": ["a.png"]}),
    "a tensor": torch.zeros(2, 3, 32, 32),
    "tensors": [torch.zeros(3, 32, 32)],
    "nothing": None,
    "a number": 5,
    "bytes": b"\x89PNG",
    "a mapping": {"a": 1},
    "no path": ["nowhere.png"],
    "an empty cell": [float("nan")],
    "from 0 to 1": [PIXELS / 255],
    "normalized": [PIXELS / 100 - 1],
    "16 bits": [PIXELS.astype(np.uint16) * 257],
    "whole numbers": [PIXELS.astype(int)],
    "booleans": [PIXELS > 9],
    "objects": [PIXELS.astype(object)],
    "channels first": [PIXELS.transpose(2, 0, 1)],
    "channels first, alone": PIXELS.transpose(2, 0, 1),
    "grey images in a batch": np.zeros((5, 28, 28), np.uint8),
    "five axes": np.zeros((2, 2, 8, 8, 3), np.uint8),
    "two channels": [PIXELS[..., :2]],
    "no pixels": [PIXELS[:0]],
    "masked": [np.ma.masked_equal(PIXELS, 0)],
    "deep": [Image.fromarray(PIXELS[..., 0].astype(np.int32))],
    "closed": [],
}


@pytest.mark.parametrize("images", REFUSED.values(), ids=REFUSED)
def test_what_is_no_image_is_one_sentence(expert, images, file):
    if isinstance(images, list) and not images:
        closed = Image.open(file)
        closed.close()
        images = [closed]
    with pytest.raises(TailproofError) as error:
        expert.predict(images)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_a_column_keeps_its_index_and_says_what_cannot_be_read(expert, file):
    column = pd.Series([str(file), "nowhere.png", None, str(file)], index=[7, 3, 5, 1])
    with pytest.warns(UserWarning, match=r"2 of 4 images.*nowhere\.png"):
        table = expert.predict(column)
    assert list(table.index) == [7, 3, 5, 1]
    assert list(table["file"].fillna("")) == [str(file), "nowhere.png", "", str(file)]
    assert list(table["error"].isna()) == [True, False, False, True]
    assert (
        list(table["class"].isna()) == list(table["decision"].isna()) == [False, True, True, False]
    )
    joined = column.to_frame("path").join(table)
    assert (joined.loc[[7, 1], "probability"] > 0).all()


def test_no_image_gives_a_table_without_rows(expert, file):
    whole, empty = expert.predict([file]), expert.predict([])
    assert len(empty) == 0 and list(empty.columns) == list(whole.columns)
    with pytest.warns(UserWarning, match="temperature"):
        column = expert.predict(pd.Series([], dtype=object), group=[], probabilities=True)
    assert list(column.columns)[:3] == ["group", "images", "class"] and len(column) == 0


def test_groups(expert, file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = expert.predict([file, PIXELS, file], group=["x", None, "x"])
        assert table[["group", "images"]].to_numpy().tolist() == [["x", 2], ["image 1", 1]]
        folder = expert.predict([file, file], group="folder")
    assert folder[["group", "images"]].to_numpy().tolist() == [[str(file.parent), 2]]
    for wrong in (["x"], "find"):
        with pytest.raises(TailproofError, match=r"^group "):
            expert.predict([file, file], group=wrong)
    with pytest.raises(TailproofError, match=r"^group "):
        expert.predict([PIXELS], group="folder")


@pytest.mark.filterwarnings("ignore:the expert has no temperature")
@pytest.mark.parametrize("kind", ["string", "Int64", "category", "float", "object"])
def test_every_missing_value_of_pandas_is_no_group(expert, file, kind):
    column = pd.Series([1, None, 1, None]).astype("Int64")
    if kind in ("string", "category"):
        column = column.astype("string")
    images = [file, file, PIXELS, file]
    table = expert.predict(images, group=column.astype(kind), probabilities=True)
    assert table["images"].tolist() == [2, 1, 1]
    assert table["group"].tolist()[1:] == [str(file)] * 2, "each is a group of its own"
    alone = expert.predict(file, probabilities=True)
    close(table.iloc[[1, 2]]["probability"], [alone["probability"][0]] * 2)


def test_a_picture_is_refused_or_read_as_its_file_is(expert, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    for name, image in (
        ("four.tif", values),  # OpenCV does not say what the fourth band is
        ("deep.png", values[:, :, :3].astype(np.uint16) * 257),
        ("deep.tif", values[:, :, :3].astype(np.uint16) * 257),
        ("deep_alpha.png", values.astype(np.uint16) * 257),
    ):
        path = tmp_path / name
        assert cv2.imwrite(str(path), image)
        with Image.open(path) as picture:
            if name.startswith("deep"):
                for given in (path, picture):
                    with pytest.raises(TailproofError, match="bits per channel"):
                        expert.predict(given)
            else:
                close(probabilities(expert, picture), probabilities(expert, path))


@pytest.mark.parametrize("path", ["", "a\0b.png"])
def test_a_path_of_no_file_is_one_sentence(expert, tmp_path, monkeypatch, path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TailproofError):
        expert.predict(path)


def test_what_is_known_beforehand(expert, file):
    table = expert.predict(file, classes=["a", "c"], probabilities=True)
    assert table["class=b"][0] == 0 and table["class"][0] in "ac"
    for options, expected in (
        ({"classes": ["a", "z"]}, "'z'"),
        ({"classes": "a"}, "list"),
        ({"classes": 3}, "list"),
        ({"adapt": "no"}, "adapt"),
        ({"coverage": "0.5"}, "coverage"),
        ({"coverage": True}, "coverage"),
        ({"rule": None}, "rule"),
        ({"group": 5}, "group"),
        ({"classes": []}, "empty"),
        ({"prior": {"a": 1, "b": 2, "c": 3}}, "assumes"),
        ({"prior": [1, 2, 3], "adapt": True}, "give one"),
        ({"adapt": True, "group": ["x"]}, "adapt or group"),
    ):
        with pytest.raises(TailproofError, match=expected):
            expert.predict([file], **options)


def test_options_are_named_as_in_python(expert, file):
    for options in (
        {"by_group": True},
        {"score": "pas"},
        {"risk": 0.1, "coverage": 0.5},
        {"set": 0.9, "classes": ["a"]},
        {"set": 0.9},
        {"rule": "chov"},
        {"coverage": 0.7},
    ):
        with pytest.raises(TailproofError) as error:
            expert.predict(file, **options)
        assert "--" not in str(error.value)


def test_type_checkers_see_what_python_imports():
    stub = Path(tailproof.__file__).with_suffix(".pyi")
    assert stub.with_name("py.typed").exists()
    imports = [
        node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    names = {alias.asname: (node.module, alias.name) for node in imports for alias in node.names}
    assert set(names) == set(tailproof.__all__)
    for name, (module, function) in names.items():
        assert getattr(tailproof, name) is getattr(import_module(module), function)
