"""`tailproof relabel`: the corrected table is what a source reads again."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tailproof.config.data import Data
from tailproof.data.prepare import prepare
from tailproof.data.sources import open_source
from tailproof.files import write_json
from tailproof.retraining.relabel import write_label_table
from tailproof.runtime.errors import TailproofError

CLASSES = ["=lynx", "otter"]


def picture(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_experiment(source, classes=CLASSES, ranks=("class",), above=None):
    experiment = {"title": "T", "data": {"source": source}, "experts": {"plain": {}}}
    path = Path("config/experiments/study.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(experiment))
    prepare(Data(**experiment["data"]), "results/study/samples.parquet")
    manifest = {
        "ranks": list(ranks), "target": ranks[-1], "ancestors": {ranks[-1]: above or {}},
        "classes": classes if isinstance(classes, dict) else {ranks[-1]: classes},
    }  # fmt: skip
    write_json("results/study/shards/manifest.json", manifest)


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        picture(Path("raw", CLASSES[number % 2], f"{number}.png"), number)
    write_experiment({"name": "image_folder", "root": "raw"})
    return tmp_path


def write_answers(answers, path="answers.csv"):
    with open(path, "w", newline="") as file:
        rows = [(sample, "old", name) for sample, name in answers.items()]
        csv.writer(file).writerows([("sample_id", "label", "verified"), *rows])
    return path


def labels_of(source):
    opened = open_source(Data(source=source).source)
    return {sample.path: dict(sample.labels) for sample in opened.samples()}


def test_the_table_has_all_labels_and_the_source_reads_it(study):
    picture(Path("raw/new/9.png"), 9)
    answers = {
        "=lynx/0.png": "otter", "otter/1.png": "otter", "otter/3.png": "",
        "new/9.png": "=lynx", "gone/7.png": "otter", "../answers.csv": "otter",
    }  # fmt: skip
    table = write_label_table("study", write_answers(answers), "raw/labels.csv")
    assert (table.images, table.verified, table.changed, table.added) == (7, 3, 1, 1)
    assert (table.unlabelled, table.unknown) == (1, ["../answers.csv", "gone/7.png"])
    assert labels_of(table.source) == {
        "=lynx/0.png": {"class": "otter"}, "=lynx/2.png": {"class": "=lynx"},
        "=lynx/4.png": {"class": "=lynx"}, "new/9.png": {"class": "=lynx"},
        "otter/1.png": {"class": "otter"}, "otter/3.png": {"class": "otter"},
        "otter/5.png": {"class": "otter"},
    }  # fmt: skip
    assert len(list(table.summary())) == 3
    with pytest.raises(TailproofError, match="exists"):
        write_label_table("study", "answers.csv", "raw/labels.csv")


def test_a_new_class_is_said_with_its_near_one(study):
    table = write_label_table("study", write_answers({"otter/1.png": "oter"}), "raw/labels.csv")
    assert table.classes == ["'oter' (did you mean 'otter'?)"]


def test_labels_of_other_ranks_follow_and_official_splits_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [("file", "order", "genus", "group", "split")]
    for number in range(6):
        picture(Path(f"raw/{number}.png"), number)
        order, genus = [("cats", "lynx"), ("dogs", "fox")][number % 2]
        rows.append(
            (f"{number}.png", order, genus, f"g{number // 2}", ["train", "test"][number > 3])
        )
    with open("raw/all.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    source = {"name": "metadata_csv", "root": "raw", "table": "all.csv", "filename": "file",
              "ranks": ["order", "genus"], "group": "group", "split": "split"}  # fmt: skip
    classes = {"order": ["cats", "dogs"], "genus": ["fox", "lynx"]}
    write_experiment(source, classes, ("order", "genus"), {"order": [1, 0]})
    table = write_label_table("study", write_answers({"0.png": "fox"}), "raw/right.csv")
    assert table.source == source | {"table": "right.csv"}
    expected = labels_of(source) | {"0.png": {"order": "dogs", "genus": "fox"}}
    assert labels_of(table.source) == expected
    before, after = (open_source(Data(source=one).source) for one in (source, table.source))
    assert [(one.group, one.pool) for one in before.samples()] == [
        (one.group, one.pool) for one in after.samples()
    ]


def test_parts_of_larger_files_cannot_be_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment({"name": "digits"}, ["0", "1"])
    with pytest.raises(TailproofError, match="larger files"):
        write_label_table("study", write_answers({"sample-00000": "1"}), "labels.csv")
