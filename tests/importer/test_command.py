"""`tailproof import` in a project: what it writes, prints and refuses."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailproof.cli import app
from tailproof.config.validation import load_experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.data.prepare import prepare
from tailproof.data.splits import split
from tailproof.files import read_json
from tailproof.importer import import_collection
from tailproof.importer.choice import choose_source
from tailproof.runtime.errors import TailproofError
from tests.importer.writers import write_classes, write_pictures, write_table, write_text


@pytest.fixture
def study(tmp_path, monkeypatch):
    """An empty project, which is the current folder."""
    (tmp_path / "config" / "experiments").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*arguments, **options) -> str:
    with pytest.raises(TailproofError) as error:
        import_collection(*arguments, **options)
    return str(error.value)


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["import", *arguments])
    assert result.exception is None, result.output
    return result.output


def test_the_experiment_has_a_reason_for_its_values_and_splits(study):
    write_classes(study / "raw" / "my photos", ("cat", "dog", "fox: red"), 10)
    write_pictures(study / "raw" / "my photos" / "cat", [f"more{i}.jpg" for i in range(20)])
    (study / "raw" / "my photos" / "dog" / "broken.jpg").write_bytes(b"no picture")
    output = printed("raw/my photos")
    file = study / "config" / "experiments" / "my_photos.yaml"
    for text in ("'cat' 30", "config/experiments/my_photos.yaml", "results/my_photos/report"):
        assert text in output
    keys = re.findall(r"^ *#.*\n +(\w+):", file.read_text(), re.M)
    assert {"source", "on_bad_image", "model", "image_size", "epochs", "augmentation"} <= set(keys)
    experiment = load_experiment(file)
    assert experiment.data.source.root == "raw/my photos"
    assert list(experiment.experts) == ["cross_entropy", "balanced_softmax"]

    prepare(experiment.data, study / "samples.parquet")
    split(study / "samples.parquet", experiment.data, study / "splits.parquet", study / "s.json")
    summary = read_json(study / "s.json")
    assert min(summary["splits"].values()) > 0
    assert read_json(study / "prepare.json")["bad_images"] == 1


@pytest.mark.parametrize(
    "names", [("yes", "no"), ("007", "7"), ("null", "1e3"), ("a: b", "[x]"), ("é #1", "{y}")]
)
def test_names_come_out_of_the_file_as_they_went_in(names, study):
    write_classes(study / "raw", names, 8)
    result = import_collection("raw", "x")
    written = read_yaml(study / result.file)
    assert written["data"]["positive_class"] in names
    assert set(result.collection.counts) == set(names)


def test_a_second_import_and_a_bad_name_are_refused(study):
    write_classes(study / "raw" / "images", ("cat", "dog"), 8)
    assert import_collection("raw/images/").name == study.name.replace("-", "-")
    assert "--name" in refusal("raw/images")
    assert "--name" in refusal("raw/images", "a b")
    assert "--name" in refusal("raw/images", "features"), "all experiments share this folder"
    assert import_collection(str(study / "raw" / "images"), "again").name == "again"
    assert load_experiment("config/experiments/again.yaml").data.source.root == "raw/images"


def test_paths_that_cannot_be_a_collection(study, monkeypatch):
    write_pictures(study, ["one.jpg"])
    (study / "empty").mkdir()
    (study / "link").symlink_to("nowhere")
    for path in ("missing", "link", "one.jpg", "empty", "/dev/null"):
        assert path in refusal(path)
    write_text(study / "table.xlsx", "PK")
    assert "Excel" in refusal("table.xlsx")
    monkeypatch.chdir(study / "empty")
    assert "tailproof init" in refusal("../one.jpg")


@pytest.mark.parametrize("name", ["birds.zip", "birds.tar.gz", "birds.tgz", "birds.7z"])
def test_archives_are_refused_with_the_command_that_unpacks_them(name, study):
    write_text(study / "raw" / name, "no archive")
    text = refusal(f"raw/{name}")
    assert f"raw/{name}" in text and "tailproof import raw/birds`" in text
    write_text(study / "raw" / "readme.txt", "hello")
    assert f"raw/{name}" in refusal("raw")


def test_pixels_in_a_table_are_refused_by_name(study):
    write_table(study / "raw" / "a" / "fer2013.csv", ["emotion", "pixels"], [[0, "1 2 3"]])
    write_table(study / "raw" / "b" / "mnist.csv", ["label", *range(784)], [[0] * 785])
    for path in ("raw/a", "raw/a/fer2013.csv", "raw/b"):
        assert "pixels of pictures" in refusal(path)


def test_a_map_of_labels_is_refused_with_the_command_that_writes_a_table(study):
    write_pictures(study / "raw", [f"{i}.jpg" for i in range(4)])
    write_text(study / "raw" / "labels.json", '{"0.jpg": "a", "1.jpg": "b"}')
    assert "raw/labels.csv" in refusal("raw")


def test_too_few_pictures_are_refused_with_how_many_are_needed(study):
    write_classes(study / "raw", ("a", "b", "c"), 2)
    assert "8" in refusal("raw")
    assert not list((study / "config" / "experiments").iterdir())


def test_pictures_that_cannot_be_read_are_refused_with_the_reason(study):
    for name in ("a", "b"):
        write_text(study / "raw" / name / "1.jpg", "<html>")
    assert "HTML" in refusal("raw")


# --- several sources ------------------------------------------------------------------------------


def write_both(root: Path, header=("file", "species")) -> None:
    """Write class folders, and a table of their pictures."""
    write_classes(root, ("cat", "dog"), 10)
    rows = [[f"{name}/{i}.jpg", f"{name} {i % 2}"] for name in ("cat", "dog") for i in range(10)]
    write_table(root / "table.csv", header, rows)


def test_a_table_comes_before_folders_and_the_user_may_choose(study):
    write_both(study / "raw")
    choice = choose_source(Path("raw"))
    assert choice.name == "metadata_csv"
    assert [other.source["name"] for other in choice.others] == ["image_folder"]
    assert choose_source(Path("raw"), "image_folder").name == "image_folder"
    assert choose_source(Path("raw"), label="species").name == "metadata_csv"
    with pytest.raises(TailproofError, match="image_folder"):
        choose_source(Path("raw"), "image_folder", "species")
    with pytest.raises(TailproofError, match="image_folder"):
        choose_source(Path("raw"), "image_foler")


def test_sure_folders_come_before_a_doubtful_table_and_say_so(study):
    write_both(study / "raw", ("file", "remark"))
    choice = choose_source(Path("raw"))
    assert choice.name == "image_folder"
    assert [other.source["name"] for other in choice.others] == ["metadata_csv"]


def test_a_refused_table_comes_before_doubtful_folders(study):
    for site in ("site1", "site2"):
        write_pictures(study / "raw" / site, [f"{i}.jpg" for i in range(9)])
    rows = [[f"site{1 + i % 2}/{i}.jpg", ("a", "b", "a|b")[i % 3]] for i in range(9)]
    write_table(study / "raw" / "data.csv", ["path", "label"], rows)
    with pytest.raises(TailproofError, match="label"):
        choose_source(Path("raw"))


# --- what only the whole collection shows ---------------------------------------------------------


def test_a_split_without_labels_in_test_is_not_used(study):
    rows = [
        [f"{i}.jpg", "train" if i < 30 else "test", "abc"[i % 3] if i < 30 else ""]
        for i in range(40)
    ]
    write_pictures(study / "raw", [row[0] for row in rows])
    write_table(study / "raw" / "data.csv", ["image", "split", "label"], rows)
    result = import_collection("raw", "x")
    assert result.experiment.data.source.split is None
    assert sum(result.splits.values()) == 30
    assert any("'split'" in doubt for doubt in result.choice.recognition.doubts)


def test_groups_that_each_set_numbers_from_the_start_stay_apart(study):
    for kind, count in (("train", 40), ("test", 20)):
        rows = [[f"{kind}{i}.jpg", i // 2, "abc"[i // 2 % 3]] for i in range(count)]
        write_pictures(study / "raw", [row[0] for row in rows])
        write_table(study / "raw" / f"{kind}.csv", ["file", "observation", "label"], rows)
    result = import_collection("raw", "x")
    assert result.experiment.data.source.group_per_pool
    assert sum(result.splits.values()) == 60
