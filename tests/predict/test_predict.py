import csv
import io
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax

from tailproof.files import read_json, write_json
from tailproof.models import load_expert
from tailproof.predict.command import predict_images
from tailproof.runtime.errors import TailproofError
from tests.predict.conftest import make_expert


def predicted(capsys, folder, *places, rule="chow", coverage=None):
    """Whether all could be read, the rows of the CSV, and the lines on stderr."""
    places = [str(place) for place in places]
    whole = predict_images(str(folder), places, as_csv=True, rule=rule, coverage=coverage)
    output = capsys.readouterr()
    return whole, list(csv.DictReader(io.StringIO(output.out))), output.err.splitlines()


def refused(folder, *places, rule="chow", coverage=None) -> str:
    with pytest.raises(TailproofError) as error:
        predict_images(
            str(folder), [str(p) for p in places], as_csv=True, rule=rule, coverage=coverage
        )
    return str(error.value)


def picture(path, size=(40, 32), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    bits = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(bits).convert(mode).save(path, **options)
    return path


def test_probabilities_are_those_of_the_network_over_the_temperature(
    colour_expert, tmp_path, capsys
):
    path = picture(tmp_path / "a.png", size=(32, 32))
    whole, (row,), lines = predicted(capsys, colour_expert, path)
    assert whole and row["file"] == str(path)
    pixels = np.asarray(Image.open(path)).transpose(2, 0, 1)[None] / 255
    model, _ = load_expert(colour_expert)
    with torch.no_grad():
        logits = model(torch.tensor((pixels - 0.4) / 0.2, dtype=torch.float32)).numpy()
    expected = softmax(logits[0] / 1.5)
    assert [float(row[f"class={name}"]) for name in "abc"] == pytest.approx(expected, abs=1e-5)
    assert row["class"] == "abc"[expected.argmax()]
    assert float(row["probability"]) == pytest.approx(expected.max(), abs=1e-5)
    assert row["decision"] == ("accept" if expected.max() >= 0.9 else "reject")
    assert len(lines) == 1 and re.match("1 image, 1 rejected by chow .*0.5; .* images/s$", lines[0])


def test_folders_are_searched_sorted_and_no_file_counts_twice(colour_expert, tmp_path, capsys):
    names = ["b/2.png", "b/1.JPG", "a/deep/3.webp", "c.bmp"]
    for name in names:
        picture(tmp_path / name)
    picture(tmp_path / ".hidden/4.png")
    (tmp_path / "notes.txt").write_text("no image")
    whole, rows, _ = predicted(capsys, colour_expert, tmp_path / "c.bmp", tmp_path)
    found = [row["file"].removeprefix(f"{tmp_path}/") for row in rows]
    assert whole and found == ["c.bmp", "a/deep/3.webp", "b/1.JPG", "b/2.png"]


def test_a_file_that_is_given_in_two_ways_counts_once(colour_expert, tmp_path, capsys, monkeypatch):
    for name in ("new/1.png", "new/2.png"):
        picture(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    _, rows, _ = predicted(capsys, colour_expert, "new/2.png", tmp_path / "new", "new/../new")
    assert [row["file"] for row in rows] == ["new/2.png", f"{tmp_path}/new/1.png"]
    assert "empty path" in refused(colour_expert, "")


def test_errors_of_unreadable_images_are_printed_and_the_rest_is_predicted(
    colour_expert, tmp_path, capsys
):
    good = [picture(tmp_path / f"good-{number}.png") for number in range(70)]  # over a batch
    jpeg = picture(tmp_path / "cut.jpg")
    jpeg.write_bytes(jpeg.read_bytes()[:-200])
    text = tmp_path / "text.png"
    text.write_text("not an image")
    deep = tmp_path / "deep.png"
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(deep)
    (tmp_path / "empty.png").touch()
    whole, rows, lines = predicted(capsys, colour_expert, tmp_path)
    assert not whole
    assert [row["file"] for row in rows] == sorted(map(str, good))
    assert len(lines) == 5
    starts = {line.split(": ")[1].removeprefix(f"{tmp_path}/"): line for line in lines[:4]}
    assert set(starts) == {"cut.jpg", "deep.png", "empty.png", "text.png"}
    assert "BytesIO" not in starts["text.png"]
    assert "16 bits" in starts["deep.png"]
    assert lines[4].startswith("70 images, ")


def test_an_image_that_vanishes_is_an_error_too(colour_expert, tmp_path, capsys):
    link = tmp_path / "link.png"
    link.symlink_to(picture(tmp_path / "a.png"))
    (tmp_path / "a.png").unlink()
    assert str(link) in refused(colour_expert, link)
    whole, rows, lines = predicted(capsys, colour_expert, tmp_path)
    assert not whole and not rows
    assert f"{link} is a link" in lines[0]
    assert lines[1].startswith("0 images, 0 rejected")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_other_colours_are_taken_as_the_sources_take_them(
    colour_expert, tmp_path, capsys, mode
):
    ending = "tif" if mode == "CMYK" else "png"
    odd = picture(tmp_path / f"odd.{ending}", mode=mode)
    plain = tmp_path / "plain.png"
    Image.open(odd).convert("RGB").save(plain)
    _, (first, second), _ = predicted(capsys, colour_expert, odd, plain)
    assert {**first, "file": ""} == {**second, "file": ""}


def test_the_orientation_is_applied(colour_expert, tmp_path, capsys):
    plain = picture(tmp_path / "plain.png", size=(32, 48))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned = tmp_path / "turned.png"
    Image.open(plain).transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    _, (first, second), _ = predicted(capsys, colour_expert, plain, turned)
    assert {**first, "file": ""} == {**second, "file": ""}


def test_a_grey_expert_takes_colours_as_grey(tmp_path, capsys):
    expert = make_expert(tmp_path / "expert", mode="L", shape=(1, 32, 32))
    colour = picture(tmp_path / "colour.png")
    grey = tmp_path / "grey.png"
    Image.open(colour).convert("L").save(grey)
    _, (first, second), _ = predicted(capsys, expert, colour, grey)
    assert {**first, "file": ""} == {**second, "file": ""}


def test_arrays_of_bands(tmp_path, capsys):
    expert = make_expert(tmp_path / "expert", mode="float32", shape=(5, 24, 24))
    draw = np.random.default_rng(0).normal
    arrays = {"a": (24, 24, 5), "b": (48, 24, 5), "few": (24, 24, 4)}
    (tmp_path / "bands").mkdir()
    for name, shape in arrays.items():
        np.save(tmp_path / "bands" / f"{name}.npy", draw(size=shape))
    nan = np.full((24, 24, 5), np.nan)
    np.save(tmp_path / "bands" / "nan.npy", nan)
    other = picture(tmp_path / "picture.png")
    whole, rows, lines = predicted(capsys, expert, tmp_path / "bands", other)
    assert not whole and [row["file"][-5:] for row in rows] == ["a.npy", "b.npy"]
    image = np.load(tmp_path / "bands" / "a.npy").transpose(2, 0, 1)[None]
    model, _ = load_expert(expert)
    with torch.no_grad():
        logits = model(torch.tensor((image - 0.4) / 0.2, dtype=torch.float32)).numpy()
    assert float(rows[0]["class=b"]) == pytest.approx(softmax(logits[0] / 1.5)[1], abs=1e-5)
    assert re.search(r"few\.npy: .*expected 5 bands.*found 4", lines[0])
    assert re.search(r"nan\.npy: .*2,880.*NaN", lines[1])
    assert re.search(r"picture\.png: .*\.npy", lines[2])


def test_images_that_are_not_square_must_have_their_size(tmp_path, capsys):
    expert = make_expert(tmp_path / "expert", shape=(3, 32, 40))
    right, wrong = (picture(tmp_path / f"{size}.png", (size, 32)) for size in (40, 41))
    whole, rows, lines = predicted(capsys, expert, right, wrong)
    assert not whole and [row["file"] for row in rows] == [str(right)]
    assert re.search(r"41\.png: .*height of 32 and a width of 40 .*found 32 and 41", lines[0])


def test_several_ranks(tmp_path, capsys):
    ranks = {"class": ["fungi", "plants"], "species": ["a", "b", "c"]}
    expert = make_expert(tmp_path / "expert", ranks=ranks)
    path = picture(tmp_path / "a.png", size=(32, 32))
    _, (row,), _ = predicted(capsys, expert, path)
    columns = ["species=a", "species=b", "species=c", "class=fungi", "class=plants"]
    assert list(row) == ["file", "species", "probability", "decision", "class", *columns]
    pixels = np.asarray(Image.open(path)).transpose(2, 0, 1)[None] / 255
    model, _ = load_expert(expert)
    with torch.no_grad():
        logits = model(torch.tensor((pixels - 0.4) / 0.2, dtype=torch.float32)).numpy()[0]
    expected = [*softmax(logits[2:] / 1.5), *softmax(logits[:2] / 2.0)]
    assert [float(row[name]) for name in columns] == pytest.approx(expected, abs=1e-5)
    assert row["species"] == "abc"[logits[2:].argmax()]
    assert row["class"] == ranks["class"][logits[:2].argmax()]


def test_the_table_shows_names_as_they_are(tmp_path, capsys):
    expert = make_expert(tmp_path / "expert", ranks={"kind": ["[bold]", "b", "c"]})
    names = ["[red]x.png", "a" * 200 + ".png"]
    for name in names:
        picture(tmp_path / name)
    broken = tmp_path / "b.png"
    broken.write_bytes(b"")
    places = [str(tmp_path / name) for name in (*names, "b.png")]
    assert not predict_images(str(expert), places, as_csv=False, rule="chow", coverage=1.0)
    output = capsys.readouterr()
    head, _, *rows = [line for line in output.out.splitlines() if line.strip()]
    assert head.split() == ["file", "kind", "probability", "decision"]
    assert [row.split()[0] for row in rows] == places[:2]
    assert {row.split()[3] for row in rows} == {"accept"}
    assert {row.split()[1] for row in rows} <= {"[bold]", "b", "c"}
    assert "0 rejected by chow at coverage 1;" in output.err


@pytest.mark.parametrize(
    "lost",
    [
        ["model.safetensors"],
        ["deployment.json"],
        ["model.safetensors", "config.json", "calibration.json", "deployment.json"],
    ],
)
def test_a_folder_that_lacks_files_is_refused(colour_expert, tmp_path, lost):
    shutil.copytree(colour_expert, tmp_path / "expert")
    for name in lost:
        (tmp_path / "expert" / name).unlink()
    message = refused(tmp_path / "expert", picture(tmp_path / "a.png"))
    assert message.startswith(f"{tmp_path}/expert ") and ", ".join(lost) in message


def test_the_folder_above_names_the_seeds(colour_expert, tmp_path):
    shutil.copytree(colour_expert, tmp_path / "expert" / "seed-3")
    message = refused(tmp_path / "expert", tmp_path)
    assert message.endswith(f"{tmp_path}/expert/seed-3")
    assert "not a folder" in refused(tmp_path / "nowhere", tmp_path)


def test_files_of_different_runs_are_refused(colour_expert, tmp_path):
    shutil.copytree(colour_expert, tmp_path / "expert")
    for name in ("calibration.json", "deployment.json"):
        value = read_json(colour_expert / name)
        write_json(tmp_path / "expert" / name, value | {"weights_sha256": "0" * 64})
        message = refused(tmp_path / "expert", tmp_path)
        assert (
            f"expert/{name} " in message and "model.safetensors" in message and "0" * 12 in message
        )
        write_json(tmp_path / "expert" / name, value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("deployment.json", lambda value: value.pop("rules")),
        ("deployment.json", lambda value: value.pop("images")),
        ("deployment.json", lambda value: value["rules"]["chow"][0].pop("gain")),
        ("calibration.json", lambda value: value.pop("temperature")),
        ("config.json", lambda value: value.pop("tailproof")),
        ("config.json", lambda value: value.update(architecture="nonsense")),
    ],
)
def test_damaged_files_are_errors(colour_expert, tmp_path, name, change):
    shutil.copytree(colour_expert, tmp_path / "expert")
    value = read_json(tmp_path / "expert" / name)
    change(value)
    write_json(tmp_path / "expert" / name, value)
    message = refused(tmp_path / "expert", picture(tmp_path / "a.png"))
    assert str(tmp_path / "expert") in message and "\n" not in message


def test_places_rules_and_coverages_that_are_not_there(colour_expert, tmp_path):
    path = picture(tmp_path / "a.png")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.txt").touch()
    assert f"{tmp_path}/nothing.png " in refused(colour_expert, tmp_path / "nothing.png")
    assert f"{tmp_path}/none " in refused(colour_expert, path, tmp_path / "none")
    assert re.search("rule 'chov' .*'chow'", refused(colour_expert, path, rule="chov"))
    message = refused(colour_expert, path, coverage=0.7)
    assert re.search("'chow' .*coverage 0.7, .*0.5, 1: ", message)


def test_logits_that_are_not_finite_are_refused(tmp_path):
    expert = make_expert(tmp_path / "expert", mode="float32", shape=(3, 32, 32))
    np.save(tmp_path / "huge.npy", np.full((32, 32, 3), 1e38))
    assert "not finite" in refused(expert, tmp_path / "huge.npy")
