import csv
import io

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from tailproof.files import read_json, write_json
from tailproof.predict.command import predict_images
from tailproof.runtime.errors import TailproofError


@pytest.fixture
def pictures(tmp_path):
    """Two folders of two and one pictures."""
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        bits = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(bits).save(path)
    return tmp_path / "photos"


def rows_of(capsys, expert, place, **options):
    whole = predict_images(
        str(expert), [str(place)], as_csv=True, rule="chow", coverage=1.0, **options
    )
    output = capsys.readouterr()
    return whole, list(csv.DictReader(io.StringIO(output.out))), output.err


def log_p(row):
    return np.log([float(row[f"class={name}"]) for name in "abc"])


def test_images_of_a_folder_get_one_answer(colour_expert, tmp_path, pictures, capsys):
    _, single, _ = rows_of(capsys, colour_expert, pictures)
    whole, rows, said = rows_of(capsys, colour_expert, pictures, group="folder")
    assert whole and [(row["group"], row["images"]) for row in rows] == [
        (str(pictures / "a"), "2"), (str(pictures / "b"), "1")
    ]  # fmt: skip
    expected = softmax((log_p(single[0]) + log_p(single[1])) / 2)
    assert np.exp(log_p(rows[0])) == pytest.approx(expected, abs=1e-5)
    assert log_p(rows[1]) == pytest.approx(log_p(single[2]), abs=1e-5)
    assert "3 images in 2 groups" in said and "no temperature for groups" in said


def test_the_temperature_of_groups_is_for_several_images(colour_expert, tmp_path, pictures, capsys):
    import shutil

    expert = tmp_path / "expert"
    shutil.copytree(colour_expert, expert)
    path = expert / "deployment.json"
    write_json(path, read_json(path) | {"group_temperature": 0.5})
    _, single, _ = rows_of(capsys, colour_expert, pictures)
    _, rows, said = rows_of(capsys, expert, pictures, group="folder")
    expected = softmax((log_p(single[0]) + log_p(single[1])) / 2 / 0.5)
    assert np.exp(log_p(rows[0])) == pytest.approx(expected, abs=1e-5)
    assert log_p(rows[1]) == pytest.approx(log_p(single[2]), abs=1e-5)
    assert "temperature" not in said
    write_json(path, read_json(path) | {"group_temperature": 0.0})
    with pytest.raises(TailproofError, match="group_temperature"):
        rows_of(capsys, expert, pictures, group="folder")


def test_a_column_of_a_table_names_the_groups(colour_expert, tmp_path, pictures, capsys):
    table = pictures / "finds.csv"
    table.write_text("file,find\na/1.png,1\na/2.png,\nb/1.png,1\nelsewhere.png,2\n")
    options = {"group": "find", "table": str(table)}
    _, rows, _ = rows_of(capsys, colour_expert, pictures, **options)
    assert [(row["group"], row["images"]) for row in rows] == [
        ("1", "2"), (str(pictures / "a/2.png"), "1")
    ]  # fmt: skip
    (pictures / "b/1.png").write_bytes(b"")
    whole, rows, said = rows_of(capsys, colour_expert, pictures, **options)
    assert not whole and [row["images"] for row in rows] == ["1", "1"]
    assert "2 images in 2 groups" in said and "1 could not be read" in said


def test_what_a_table_lacks_is_one_sentence(colour_expert, tmp_path, pictures, capsys):
    table = tmp_path / "finds.csv"
    table.write_text("file,find\nphotos/a/1.png,1\n")
    for options, expected in (
        ({"group": "find", "table": str(table)}, r"2 images in its column 'file'.*a/2\.png"),
        ({"group": "observation", "table": str(table)}, r"no column 'observation'"),
        ({"group": "find"}, r"--table"),
        ({"table": str(table)}, r"--group"),
        ({"group": "find", "table": str(tmp_path / "none.csv")}, r"none\.csv does not exist"),
    ):
        with pytest.raises(TailproofError, match=expected):
            rows_of(capsys, colour_expert, pictures, **options)
