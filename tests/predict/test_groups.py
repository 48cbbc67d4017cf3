import csv
import io
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from tailproof.files import read_json, write_json
from tailproof.predict.command import predict_images
from tailproof.predict.groups import groups_of
from tailproof.runtime.errors import TailproofError
from tests.predict.conftest import make_expert


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
    assert "by chow at coverage 1, fitted without --group;" in said


def test_the_temperature_of_groups_is_for_several_images(colour_expert, tmp_path, pictures, capsys):
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


def test_known_shares_change_groups_after_their_temperature_and_only_the_target(
    tmp_path, pictures, capsys
):
    ranks = {"genus": ["x", "y"], "class": ["a", "b", "c"]}
    expert = make_expert(tmp_path / "ranks", ranks=ranks)
    path = expert / "deployment.json"
    assumed = {"shares": [0.6, 0.3, 0.1], "samples": [50] * 3}
    assumed |= {name: [0.5] * 3 for name in ("confidence_mean", "confidence_sd")}
    write_json(path, read_json(path) | {"group_temperature": 0.5, "assumptions": assumed})
    counts, allowed = tmp_path / "counts.csv", tmp_path / "allowed.txt"
    counts.write_text("class,count\na,9\nb,19\nc,69\n")
    allowed.write_text("b\nc\n")
    shift = np.log([9.5, 19.5, 69.5]) - np.log(assumed["shares"])
    _, single, _ = rows_of(capsys, expert, pictures)
    of_group = (log_p(single[0]) + log_p(single[1])) / 2 / 0.5
    for options, added in (
        ({"prior": str(counts)}, shift),
        ({"classes": str(allowed)}, [-np.inf, 0, 0]),
        ({"prior": str(counts), "classes": str(allowed)}, np.add(shift, [-np.inf, 0, 0])),
    ):
        _, rows, said = rows_of(capsys, expert, pictures, group="folder", **options)
        p = [[float(row[f"class={name}"]) for name in "abc"] for row in rows]
        assert p[0] == pytest.approx(softmax(of_group + added), abs=1e-5)
        assert p[1] == pytest.approx(softmax(log_p(single[2]) + added), abs=1e-5)
        assert f"fitted without --group, --{', --'.join(sorted(options))};" in said
        genus = np.log([[float(row[f"genus={name}"]) for name in "xy"] for row in single[:2]])
        found = [float(rows[0][f"genus={name}"]) for name in "xy"]
        assert found == pytest.approx(softmax(genus.mean(axis=0)), abs=1e-5)
    with pytest.raises(TailproofError, match="--adapt or --group"):
        rows_of(capsys, expert, pictures, group="folder", adapt=True)


def test_a_file_in_two_groups_is_refused(colour_expert, pictures, capsys):
    table = pictures / "finds.csv"
    options = {"group": "find", "table": str(table)}
    rest = "a/2.png,\nb/1.png,1\n"
    table.write_text(f"file,find\na/1.png,1\na/1.png,1\n{rest}")
    assert len(rows_of(capsys, colour_expert, pictures, **options)[1]) == 2
    for other in (f"a/../a/1.png,\n{rest}", f"{rest}{pictures}/a/1.png,2\n"):
        table.write_text(f"file,find\na/1.png,1\n{other}")
        with pytest.raises(TailproofError, match=r"line \d: the file '.*1\.png' has the find"):
            rows_of(capsys, colour_expert, pictures, **options)


def test_a_file_next_to_the_table_is_meant_before_one_of_the_current_folder(
    pictures, monkeypatch, tmp_path
):
    (pictures / "1.png").write_bytes(b"")
    monkeypatch.chdir(pictures / "a")
    table = pictures / "finds.csv"
    table.write_text(f"file,find\n1.png,1\na/1.png,2\n2.png,3\n{'x' * 300},4\n")
    files = [pictures / "a/1.png", pictures / "a/2.png"]
    assert [group.name for group in groups_of(files, "find", str(table))] == ["2", "3"]


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


def test_an_image_without_a_group_joins_no_group_of_its_name(
    colour_expert, pictures, capsys, monkeypatch
):
    monkeypatch.chdir(pictures)
    _, single, _ = rows_of(capsys, colour_expert, "a")
    (pictures / "finds.csv").write_text("file,find\na/1.png,\na/2.png,a/1.png\n")
    _, rows, _ = rows_of(capsys, colour_expert, "a", group="find", table="finds.csv")
    assert [(row["group"], row["images"]) for row in rows] == [("a/1.png", "1")] * 2
    for row, alone in zip(rows, single, strict=True):
        assert log_p(row) == pytest.approx(log_p(alone), abs=1e-5)


def test_names_of_files_are_found_as_windows_and_macos_write_them(colour_expert, pictures, capsys):
    (pictures / "a" / "2.png").rename(pictures / "a" / "é.png")
    table = pictures / "finds.csv"
    options = {"group": "find", "table": str(table)}
    table.write_text("file,find\na\\1.PNG,x\na/e\u0301.png,y\nB/1.png,x\n")
    _, rows, _ = rows_of(capsys, colour_expert, pictures, **options)
    assert [(row["group"], row["images"]) for row in rows] == [("x", "2"), ("y", "1")]
    shutil.copy(pictures / "a" / "1.png", pictures / "a" / "1.Png")
    with pytest.raises(TailproofError, match="does not list 2 images"):
        rows_of(capsys, colour_expert, pictures, **options)


def test_a_link_to_itself_among_the_images_is_not_in_the_table(colour_expert, pictures, capsys):
    (pictures / "c.png").symlink_to(pictures / "c.png")
    (pictures / "finds.csv").write_text("file,find\na/1.png,x\na/2.png,x\nb/1.png,x\nc.png,x\n")
    options = {"group": "find", "table": str(pictures / "finds.csv")}
    whole, rows, _ = rows_of(capsys, colour_expert, pictures, **options)
    assert not whole and [row["images"] for row in rows] == ["3"]
