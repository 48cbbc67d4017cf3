"""Tables of pictures as others publish them: table, columns and folders, or why not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tailproof.data.sources import open_source
from tailproof.data.sources.metadata_csv import MetadataCsv, MetadataCsvSource
from tailproof.runtime.errors import TailproofError
from tests.importer.writers import write_pictures, write_table, write_text

SPECIES = ("lynx", "otter", "wolf")


def read(source):
    return list(open_source(MetadataCsv(**source)).samples())


def ham10000(root):
    """Two folders of pictures, stems for names, lesions, and other columns of few values."""
    rows = []
    for i in range(30):
        write_pictures(root / f"HAM10000_images_part_{i // 15 + 1}", [f"ISIC_{i:07d}.jpg"])
        dx = ("nv", "mel", "bkl")[i // 2 % 3]
        cells = [
            ("histo", "follow_up")[i % 2],
            40,
            ("male", "female")[i % 2],
            ("back", "face")[i % 2],
        ]
        rows.append([f"HAM_{i // 2}", f"ISIC_{i:07d}", dx, *cells])
    header = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    write_table(root / "HAM10000_metadata.csv", header, rows)
    write_table(root / "hmnist_8_8.csv", [*(f"pixel{i}" for i in range(64)), "label"], [[1] * 65])
    columns = {"filename": "image_id", "ranks": ["dx"], "group": "lesion_id", "subfolders": True}
    return {"table": "HAM10000_metadata.csv", **columns}


def isic2020(root):
    """Words for the class next to numbers, patients, and a test table without labels."""
    write_pictures(root / "train", [f"ISIC_{i:07d}.jpg" for i in range(30)])
    write_pictures(root / "test", [f"ISIC_{i:07d}.jpg" for i in range(90, 95)])
    header = ["image_name", "patient_id", "sex", "diagnosis", "benign_malignant", "target"]
    diagnoses = [("unknown", "benign", 0), ("nevus", "benign", 0), ("melanoma", "malignant", 1)]
    rows = [[f"ISIC_{i:07d}", f"IP_{i // 3}", "m", *diagnoses[i % 3]] for i in range(30)]
    write_table(root / "train.csv", header, rows)
    write_table(
        root / "test.csv", header[:3], [[f"ISIC_{i:07d}", "IQ", "m"] for i in range(90, 95)]
    )
    columns = {"filename": "image_name", "ranks": ["benign_malignant"], "group": "patient_id"}
    return {"table": "train.csv", "images": "train", **columns}


def eurosat(root):
    """A table for each official split, with an index without a name, and names next to numbers."""
    names = ("AnnualCrop", "Forest", "River")
    rows = [[i, f"{names[i % 3]}/{i}.jpg", i % 3, names[i % 3]] for i in range(30)]
    write_pictures(root / "EuroSAT", [row[1] for row in rows])
    for table, part in (("train", rows[::2]), ("validation", rows[1::4]), ("test", rows[3::4])):
        write_table(root / "EuroSAT" / f"{table}.csv", ["", "Filename", "Label", "ClassName"], part)
    pools = {"train": "train", "val": "validation", "test": "test"}
    tables = {k: {"table": f"EuroSAT/{v}.csv", "images": "EuroSAT"} for k, v in pools.items()}
    return {**tables, "filename": "Filename", "ranks": ["ClassName"], "group": None}


def gtsrb(root):
    """Paths with folders in them, and a table of one picture per class, which is no data."""
    tables = {
        "Train": [(f"Train/{c}/{c}_{t}.png", c) for c in range(3) for t in range(5)],
        "Test": [(f"Test/{i:05d}.png", i % 3) for i in range(9)],
        "Meta": [(f"Meta/{c}.png", c) for c in range(3)],
    }
    for name, rows in tables.items():
        write_pictures(root, [path for path, _ in rows])
        cells = [[30, 29, 5, 5, label, path] for path, label in rows]
        write_table(
            root / f"{name}.csv", ["Width", "Height", "Roi.X1", "Roi.Y1", "ClassId", "Path"], cells
        )
    pools = {kind: {"table": f"{kind.title()}.csv", "images": "."} for kind in ("train", "test")}
    return {**pools, "filename": "Path", "ranks": ["ClassId"], "group": None}


def fungitastic(root):
    """Ranks of life, observations, an official test set under a longer name, two picture sizes."""
    species = ["Amanita muscaria", "Amanita rubescens", "Russula rosea", "Phlebia radiata"]
    families = ["Amanitaceae", "Amanitaceae", "Russulaceae", "Meruliaceae"]
    for name, folder, first, count in (
        ("FungiTastic-Train", "train", 0, 40),
        ("FungiTastic-Val", "val", 40, 16),
        ("FungiTastic-ClosedSet-Test", "test", 60, 16),
    ):
        rows = []
        for i in range(first, first + count):
            kind = i // 2 % 4
            rows.append(
                [f"0-{i}.JPG", i // 2, "Fungi", families[kind], species[kind][:7], species[kind]]
            )
        write_table(
            root / "metadata" / f"{name}.csv",
            ["filename", "observationID", "kingdom", "family", "genus", "species"],
            rows,
        )
        for size in ("300p", "500p"):
            write_pictures(root / folder / size, [row[0] for row in rows])
    names = {"train": "FungiTastic-Train", "val": "FungiTastic-Val"}
    names["test"] = "FungiTastic-ClosedSet-Test"
    pools = {k: {"table": f"metadata/{v}.csv", "images": f"{k}/300p"} for k, v in names.items()}
    ranks = ["family", "genus", "species"]
    return {**pools, "filename": "filename", "ranks": ranks, "group": "observationID"}


def birds(root):
    """A column of official splits."""
    rows = [
        [0, f"{SPECIES[i % 3]}/{i}.jpg", SPECIES[i % 3], ("train", "valid", "test")[i // 10]]
        for i in range(30)
    ]
    write_pictures(root, [row[1] for row in rows])
    write_table(root / "birds.csv", ["class id", "filepaths", "labels", "data set"], rows)
    columns = {"filename": "filepaths", "ranks": ["labels"], "group": None, "split": "data set"}
    return {"table": "birds.csv", **columns}


def camera_traps(root):
    """Places and sequences of pictures."""
    rows = [[f"{i}.jpg", (0, 8, 19)[i // 3 % 3], i // 6, f"s{i // 3}", i % 3] for i in range(60)]
    write_pictures(root / "train_images", [row[0] for row in rows])
    write_table(
        root / "train.csv", ["file_name", "category_id", "location", "seq_id", "frame_num"], rows
    )
    columns = {"filename": "file_name", "ranks": ["category_id"], "group": "location"}
    return {"table": "train.csv", "images": "train_images", **columns}


def german_excel(root):
    """Semicolons, cp1252, backslashes, and NA."""
    write_pictures(root / "fotos", [f"IMG_{i:04d}.JPG" for i in range(32)])
    arten = ("Wolf", "Luchs", "Bär", "NA")
    lines = [f"fotos\\IMG_{i:04d}.JPG;{arten[i % 8 % 4]};Platz {i // 4}\r\n" for i in range(32)]
    (root / "tabelle.csv").write_bytes(("Datei;Art;Ort\r\n" + "".join(lines)).encode("cp1252"))
    columns = {"filename": "Datei", "ranks": ["Art"], "group": "Ort", "missing": {"Art": ["NA"]}}
    return {"table": "tabelle.csv", **columns, "encoding": "cp1252"}


def submission_next_to_labels(root):
    """The ids of train and the ids of test, which a table of guesses lists with one label."""
    write_pictures(root / "train", [f"{i:04x}.tif" for i in range(20)])
    write_pictures(root / "test", [f"{i:04x}f.tif" for i in range(5)])
    write_table(
        root / "train_labels.csv", ["id", "label"], [[f"{i:04x}", i % 2] for i in range(20)]
    )
    write_table(
        root / "sample_submission.csv", ["id", "label"], [[f"{i:04x}f", 0] for i in range(5)]
    )
    columns = {"images": "train", "filename": "id", "ranks": ["label"], "group": None}
    return {"table": "train_labels.csv", **columns}


def nested_categories(root):
    """Coarser and finer columns of one name."""
    kinds = [("Apparel", "Topwear"), ("Apparel", "Bottomwear"), ("Footwear", "Shoes")]
    rows = [[100 + i, ("Men", "Women")[i % 2], *kinds[i % 3], f"Item {i}"] for i in range(30)]
    write_pictures(root / "images", [f"{row[0]}.jpg" for row in rows])
    write_table(
        root / "styles.csv", ["id", "gender", "masterCategory", "subCategory", "name"], rows
    )
    ranks = ["masterCategory", "subCategory"]
    return {
        "table": "styles.csv",
        "images": "images",
        "filename": "id",
        "ranks": ranks,
        "group": None,
    }


def long_tail(root):
    """More classes of one picture than of several."""
    rows = [[f"{i}.jpg", f"Genus{max(0, i - 30)} species"] for i in range(60)]
    write_pictures(root, [row[0] for row in rows])
    write_table(root / "observations.tsv", ["photo", "scientific_name"], rows, "\t")
    columns = {"filename": "photo", "ranks": ["scientific_name"], "group": None}
    return {"table": "observations.tsv", **columns}


TABLES = (
    ham10000,
    isic2020,
    eurosat,
    gtsrb,
    fungitastic,
    birds,
    camera_traps,
    german_excel,
    submission_next_to_labels,
    nested_categories,
    long_tail,
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_a_table_is_recognised_and_read(table, tmp_path):
    expected = table(tmp_path)
    recognition = MetadataCsvSource.recognize(tmp_path)
    assert recognition.source == {"name": "metadata_csv", "root": str(tmp_path), **expected}
    assert recognition.sure is (table is not german_excel)
    assert recognition.notes
    assert len(read(recognition.source)) >= 20


def test_a_table_is_recognised_by_its_own_path(tmp_path):
    expected = fungitastic(tmp_path)
    source = MetadataCsvSource.recognize(tmp_path / "metadata" / "FungiTastic-Val.csv").source
    assert source["root"] == str(tmp_path)
    assert {"table": source["table"], "images": source["images"]} == expected["val"]


def test_the_user_names_the_label(tmp_path):
    isic2020(tmp_path)
    assert MetadataCsvSource.recognize(tmp_path, "diagnosis").source["ranks"] == ["diagnosis"]
    with pytest.raises(TailproofError, match="benign_malignant"):
        MetadataCsvSource.recognize(tmp_path, "dianosis")


def test_a_label_without_a_telling_name_is_taken_with_a_doubt_or_asked_for(tmp_path):
    write_pictures(tmp_path, [f"{i}.jpg" for i in range(20)])
    rows = [[f"{i}.jpg", SPECIES[i % 3], ("M", "F")[i % 2]] for i in range(20)]
    write_table(tmp_path / "one.csv", ["photo", "what", "sex"], rows)
    recognition = MetadataCsvSource.recognize(tmp_path)
    assert recognition.source["ranks"] == ["what"]
    assert not recognition.sure and recognition.doubts
    write_table(tmp_path / "one.csv", ["photo", "what", "colour"], rows)
    rows = [[f"{i}.jpg", SPECIES[i % 3], ("red", "blue")[i % 2]] for i in range(20)]
    write_table(tmp_path / "one.csv", ["photo", "what", "colour"], rows)
    assert "--label" in refusal(tmp_path)


# --- refusals -------------------------------------------------------------------------------------


def refusal(root) -> str:
    with pytest.raises(TailproofError) as error:
        MetadataCsvSource.recognize(root)
    return str(error.value)


def run_advice(text: str, root) -> None:
    """Run the first command of a message as a user would, in the environment of tailproof."""
    command = re.search(r"`((?:python|sed) .*?)`", text)[1]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-c", command], check=True, cwd=root, env={**os.environ, "PATH": path})


def test_a_column_per_class_needs_the_command_that_joins_them(tmp_path):  # ISIC 2019
    write_pictures(tmp_path / "Input", [f"ISIC_{i}.jpg" for i in range(20)])
    classes = ["MEL", "NV", "multiple_diseases", "UNK"]
    coded = [[f"ISIC_{i}", *(float(i % 3 == k) for k in range(4))] for i in range(20)]
    write_table(tmp_path / "GroundTruth.csv", ["image", *classes], coded)
    rows = [[f"ISIC_{i}", i // 2, ("m", "f")[i % 2]] for i in range(20)]
    write_table(tmp_path / "Metadata.csv", ["image", "lesion_id", "sex"], rows)
    run_advice(refusal(tmp_path), tmp_path)
    source = MetadataCsvSource.recognize(tmp_path / "labels.csv").source
    assert (source["ranks"], source["group"]) == (["label"], "lesion_id")
    assert {sample.labels["label"] for sample in read(source)} == set(classes[:3])


def test_labels_in_another_table_need_the_command_that_joins_them(tmp_path):  # Snapshot Serengeti
    write_pictures(tmp_path / "S1", [f"{i}.JPG" for i in range(20)])
    write_table(
        tmp_path / "images.csv",
        ["capture", "path"],
        [[f"c{i // 2}", f"S1/{i}.JPG"] for i in range(20)],
    )
    write_table(
        tmp_path / "annotations.csv",
        ["capture", "species"],
        [[f"c{i}", SPECIES[i % 3]] for i in range(10)],
    )
    run_advice(refusal(tmp_path), tmp_path)
    source = MetadataCsvSource.recognize(tmp_path / "labels.csv").source
    assert (source["ranks"], source["group"]) == (["species"], "capture")
    assert len(read(source)) == 20


def test_paths_of_another_machine_need_the_command_that_shortens_them(tmp_path):
    write_pictures(tmp_path / "img", [f"{i}.jpg" for i in range(20)])
    rows = [[f"/kaggle/input/set one/img/{i}.jpg", SPECIES[i % 3]] for i in range(20)]
    write_table(tmp_path / "train.csv", ["path", "label"], rows)
    run_advice(refusal(tmp_path), tmp_path)
    assert len(read(MetadataCsvSource.recognize(tmp_path / "labels.csv").source)) == 20


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("Finding Labels", lambda i: ("No Finding", "Hernia", "Mass", "Hernia|Mass")[i % 4]),
        ("labels", lambda i: ("healthy", "scab", "rust", "scab rust", "rust scab")[i % 5]),
        ("target", lambda i: i / 7),
    ],
)
def test_labels_that_are_no_classes_are_refused_by_column(column, cell, tmp_path):
    write_pictures(tmp_path, [f"{i}.png" for i in range(20)])
    write_table(
        tmp_path / "data.csv", ["image", column], [[f"{i}.png", cell(i)] for i in range(20)]
    )
    assert f"'{column}'" in refusal(tmp_path)


def test_attributes_boxes_quantities_and_bare_lists_are_refused(tmp_path):
    for folder in ("attributes", "boxes", "ages", "bare"):
        write_pictures(tmp_path / folder, [f"{i}.jpg" for i in range(24)])
    names = ["Bald", "Smiling", "Young"]
    rows = [[f"{i}.jpg", *(1 if i >> k & 1 else -1 for k in range(3))] for i in range(24)]
    write_table(tmp_path / "attributes" / "list.csv", ["image_id", *names], rows)
    assert "--label Bald" in refusal(tmp_path / "attributes")
    assert MetadataCsvSource.recognize(tmp_path / "attributes", "Young").source["ranks"] == [
        "Young"
    ]
    boxes = [[f"{i // 3}.jpg", SPECIES[i % 3], 1, 1, 5, 5] for i in range(24)]
    write_table(
        tmp_path / "boxes" / "a.csv", ["filename", "class", "xmin", "ymin", "xmax", "ymax"], boxes
    )
    assert "24 rows" in refusal(tmp_path / "boxes")
    write_table(
        tmp_path / "ages" / "a.csv",
        ["id", "boneage", "male"],
        [[i, 7 * i, i % 2 > 0] for i in range(24)],
    )
    assert "'boneage'" in refusal(tmp_path / "ages")
    write_text(
        tmp_path / "bare" / "a.csv", "".join(f"{i}.jpg,{SPECIES[i % 3]}\n" for i in range(24))
    )
    assert "header" in refusal(tmp_path / "bare")


def test_a_diagnosis_among_columns_of_0_and_1_is_not_the_label(tmp_path):  # CheXpert
    names = ["No Finding", "Edema", "Pneumonia", "Support Devices"]
    write_pictures(tmp_path, [f"{i}.jpg" for i in range(24)])
    rows = [[f"{i}.jpg", *("" if i % 5 == k else i >> k & 1 for k in range(4))] for i in range(24)]
    write_table(tmp_path / "train.csv", ["Path", *names], rows)
    assert "--label 'No Finding'" in refusal(tmp_path)
    write_table(tmp_path / "train.csv", ["Path", "label", "blurred", "cut", "old"], rows)
    assert MetadataCsvSource.recognize(tmp_path).source["ranks"] == ["label"]


def test_pictures_without_a_scientific_name_are_a_doubt(tmp_path):  # LILA
    write_pictures(tmp_path, [f"{i}.jpg" for i in range(24)])
    names = [("empty", ""), ("fox", "Vulpes vulpes"), ("owl", "Bubo bubo")]
    rows = [[f"{i}.jpg", *names[i % 3], "animalia"] for i in range(24)]
    header = ["filename", "original_label", "scientific_name", "kingdom"]
    write_table(tmp_path / "a.csv", header, rows)
    (doubt,) = MetadataCsvSource.recognize(tmp_path).doubts
    assert "'empty' (8)" in doubt and "--label original_label" in doubt


def test_what_names_no_picture_is_no_table_of_pictures(tmp_path):
    write_pictures(tmp_path, ["a.jpg", "b.jpg"])
    write_table(tmp_path / "classes.csv", ["class", "name"], [[name, name] for name in SPECIES])
    write_text(tmp_path / "notes.txt", "a, b\nc, d\n")
    assert MetadataCsvSource.recognize(tmp_path) is None
    assert MetadataCsvSource.recognize(tmp_path / "notes.txt") is None
    assert MetadataCsvSource.recognize(tmp_path / "a.jpg") is None


# --- pictures in any folder -----------------------------------------------------------------------


def test_pictures_are_found_in_folders_below_if_one_has_the_name(tmp_path):
    write_pictures(tmp_path, ["img/a/1.jpg", "img/b/2.jpg", "img/3.jpg", "other/4.jpg"])
    write_table(tmp_path / "t.csv", ["file", "label"], [[i, SPECIES[i % 2]] for i in (1, 2, 3)])
    columns = {"table": "t.csv", "images": "img", "filename": "file", "ranks": ["label"]}
    source = {"name": "metadata_csv", "root": str(tmp_path), "group": None, **columns}
    with pytest.raises(TailproofError, match="2 of 3"):
        read(source)
    opened = open_source(MetadataCsv(**source, subfolders=True))
    assert [sample.path for sample in opened.samples()] == [
        "img/a/1.jpg",
        "img/b/2.jpg",
        "img/3.jpg",
    ]
    write_pictures(tmp_path, ["img/c/2.jpg", "img/c/9.jpg"])
    with pytest.raises(TailproofError, match=r"img/c/2\.jpg"):
        read({**source, "subfolders": True})
