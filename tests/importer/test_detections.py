"""Outputs of MegaDetector next to labelled pictures: their boxes are the samples."""

import json

import pytest

from tailproof.config.validation import load_experiment
from tailproof.data.prepare import prepare
from tailproof.files import read_json
from tailproof.importer import import_collection
from tailproof.runtime.errors import TailproofError
from tests.importer.foreign import ANIMALS, coco
from tests.importer.writers import write_classes, write_pictures, write_table, write_text

FILES = [f"{name}/{n}.jpg" for name in ANIMALS for n in range(12)]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """An empty project, which is the current folder."""
    (tmp_path / "config" / "experiments").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_output(path, files, *, version=5, prefix="", empty=()) -> None:
    """Write what MegaDetector writes: an animal in each picture, two in the first, one failure."""
    images = []
    for n, file in enumerate(files):
        boxes = [{"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.6, 0.7]}]
        boxes += [{"category": "2", "conf": 0.9, "bbox": [0.1, 0.1, 0.3, 0.3]}]
        boxes += [{"category": "1", "conf": 0.9 if n == 0 else 0.1, "bbox": [0.5, 0.5, 0.4, 0.4]}]
        found = [] if file in empty else boxes
        images.append({"file": prefix + file, "detections": found, "max_detection_conf": 0.9})
    images[-1] = {"file": prefix + files[-1], "failure": "Failure image access"}
    info = {
        4: {"format_version": "1.0", "detector": "megadetector_v4.1"},
        5: {"format_version": "1.2", "detector_metadata": {"typical_detection_threshold": 0.2}},
        6: {"format_version": "1.4", "detector_metadata": {"typical_detection_threshold": 0.3}},
    }[version]
    names = {"1": "animal", "2": "person", "3": "vehicle"}
    write_text(path, json.dumps({"images": images, "detection_categories": names, "info": info}))


def source_of(result) -> dict:
    """The source that was written, without what is not set."""
    return load_experiment(result.file).data.source.model_dump(exclude_defaults=True)


@pytest.mark.parametrize("version", [4, 5, 6])
def test_boxes_next_to_class_folders_are_cut_out(version, study):
    write_classes(study / "raw", ANIMALS, 12)
    write_output(study / "raw" / "md.json", FILES, version=version)
    result = import_collection("raw", "x")
    assert source_of(result)["crops"] == {"detections": "md.json"}
    # Two boxes of the first picture, none of the last one.
    assert dict(result.collection.counts) == {"bird": 13, "cat": 12, "dog": 11}
    assert result.collection.pictures.sizes[0] == (8, 6)  # of 9 and 8 pixels
    assert any("1 picture of 36" in doubt for doubt in result.choice.recognition.doubts)
    prepare(load_experiment(result.file).data, study / "samples.parquet")
    assert "boxes of person" in {each["reason"] for each in read_json("prepare.json")["skipped"]}


@pytest.mark.parametrize(
    ("place", "prefix", "pools"),
    [
        ("raw/traps/md.json", "photos/", {"root": "raw/traps", "train": "photos"}),
        ("raw/traps/md.json", "D:/Survey/2023/photos/", {"root": "raw/traps", "train": "photos"}),
        ("raw/traps/photos/md.json", "", {"root": "raw/traps/photos"}),
    ],
)
def test_paths_in_the_output_may_begin_elsewhere(place, prefix, pools, study):
    write_classes(study / "raw" / "traps" / "photos", ANIMALS, 12)
    write_output(study / place, FILES, prefix=prefix)
    result = import_collection("raw/traps", "x")
    source = source_of(result)
    assert {key: source[key] for key in pools} == pools
    assert len(result.collection.table) == 36
    assert source_of(import_collection("raw/traps/photos", "y")) == source


def test_boxes_are_cut_out_of_sets_tables_and_camera_traps(study):
    for split, count in (("train", 12), ("test", 4)):
        write_classes(study / "raw" / "a" / split, ANIMALS, count)
    pictures = [f"{s}/{n}/{k}.jpg" for s, c in (("train", 12), ("test", 4)) for n in ANIMALS
                for k in range(c)]  # fmt: skip
    write_output(study / "raw" / "a" / "md.json", pictures)
    assert import_collection("raw/a", "a").collection.pools == {"train": 37, "test": 11}

    write_pictures(study / "raw" / "b", FILES)
    rows = [[name, name.split("/")[0]] for name in FILES]
    write_table(study / "raw" / "b" / "labels.csv", ["file", "species"], rows)
    write_output(study / "raw" / "b" / "md.json", FILES)
    assert len(import_collection("raw/b", "b").collection.table) == 36

    kinds = [{"id": n, "name": name} for n, name in enumerate(ANIMALS)]
    coco(study / "raw" / "c", "dataset.json", FILES, kinds)
    write_output(study / "raw" / "c" / "md.json", FILES)
    assert len(import_collection("raw/c", "c").collection.table) == 36


def test_of_several_outputs_the_one_for_these_pictures_is_used(study):
    write_classes(study / "raw", ANIMALS, 12)
    write_output(study / "raw" / "md_v4.json", FILES, version=4)
    write_output(study / "raw" / "md_v5.json", FILES)
    write_output(study / "raw" / "other.json", [f"other{n}.jpg" for n in range(9)])
    result = import_collection("raw", "x")
    assert source_of(result)["crops"] == {"detections": "md_v5.json"}
    doubts = " ".join(result.choice.recognition.doubts)
    assert "md_v4.json" in doubts and "other.json" in doubts


def test_empty_pictures_among_the_classes_are_named_and_boxes_in_one_class_are_not_used(study):
    write_classes(study / "raw", ANIMALS, 12)
    birds = {name for name in FILES if name.startswith("bird")}
    write_output(study / "raw" / "md.json", FILES, empty=birds)
    result = import_collection("raw", "x")
    assert dict(result.collection.counts) == {"cat": 12, "dog": 11}
    assert any("'bird' (12 of 12)" in doubt for doubt in result.choice.recognition.doubts)
    write_output(study / "raw" / "md.json", FILES, empty={f for f in FILES if "dog" not in f})
    whole = import_collection("raw", "y")
    assert len(whole.collection.table) == 36
    assert any("one class" in doubt for doubt in whole.choice.recognition.doubts)


def test_an_output_alone_is_refused_with_the_folder_to_import(study):
    write_classes(study / "raw" / "traps", ANIMALS, 12)
    write_output(study / "raw" / "traps" / "md.json", FILES)
    with pytest.raises(TailproofError, match="`tailproof import raw/traps`"):
        import_collection("raw/traps/md.json")
