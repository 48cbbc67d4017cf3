"""Folders of pictures as others publish them: how they are read, or why they cannot be."""

import re
import subprocess
from collections import Counter

import pytest

from tailproof.data.sources import open_source
from tailproof.data.sources.image_folder import ImageFolder, ImageFolderSource
from tailproof.runtime.errors import TailproofError
from tests.importer.writers import write_classes, write_pictures, write_table, write_text

THREE = ("cat", "dog", "fox")
WORDNET = ("n01443537", "n01629819", "n01641577")


def plain(root):
    write_classes(root, THREE)
    return {}


def wrapped(root):  # PetImages, kvasir, 101_ObjectCategories
    write_classes(root / "PetImages" / "data" / "images", THREE)
    write_text(root / "readme.txt", "hello")
    return {"root": "PetImages/data/images"}


def annotations_without_pictures(root):  # Stanford Dogs
    write_classes(root / "Images", THREE)
    for name in THREE:
        write_text(root / "Annotation" / name / "n1", "<annotation/>")
    return {"root": "Images"}


def masks_next_to_pictures(root):
    write_classes(root / "images", THREE)
    write_classes(root / "masks", THREE, suffix=".png")
    return {"root": "images"}


def train_val_test(root):  # chest X-rays
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        write_classes(root / "chest_xray" / split, ("NORMAL", "PNEUMONIA"), count)
    write_pictures(root / "__MACOSX", ["chest_xray/train/NORMAL/._1.jpg"])
    return {"root": "chest_xray", "train": "train", "val": "val", "test": "test"}


def train_and_val(root):  # Imagenette
    write_classes(root / "train", WORDNET)
    write_classes(root / "val", WORDNET, 3)
    return {"train": "train", "test": "val"}


def training_and_testing(root):  # MNIST as PNG, brain tumours
    write_classes(root / "mnist_png" / "training", list("0123"))
    write_classes(root / "mnist_png" / "testing", list("0123"), 3)
    return {"root": "mnist_png", "train": "training", "test": "testing"}


def splits_in_folders_of_their_name(root):  # Intel scenes
    for split in ("train", "test"):
        write_classes(root / f"seg_{split}" / f"seg_{split}", ("forest", "sea"))
    write_pictures(root / "seg_pred" / "seg_pred", ["1.jpg", "2.jpg"])
    return {"train": "seg_train/seg_train", "test": "seg_test/seg_test"}


def splits_with_shared_words(root):  # ASL alphabet
    write_classes(root / "asl_alphabet_train" / "asl_alphabet_train", list("ABC"))
    write_pictures(root / "asl_alphabet_test" / "asl_alphabet_test", ["A_test.jpg", "B_test.jpg"])
    return {"root": "asl_alphabet_train/asl_alphabet_train"}


def unsorted_test_set(root):  # Tiny ImageNet
    for name in WORDNET:
        write_pictures(root / "train" / name / "images", [f"{name}_{i}.JPEG" for i in range(5)])
    write_pictures(root / "val" / "images", [f"val_{i}.JPEG" for i in range(4)])
    write_text(root / "val" / "val_annotations.txt", "val_0.JPEG\tn01443537\t0\t0\t62\t62\n")
    return {"root": "train"}


def deep_train_folder(root):  # ILSVRC
    inner = root / "ILSVRC" / "Data" / "CLS-LOC"
    write_classes(inner / "train", WORDNET)
    write_pictures(inner / "val", [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(4)])
    write_text(root / "ILSVRC" / "Annotations" / "a.xml", "<a/>")
    return {"root": "ILSVRC/Data/CLS-LOC/train"}


def copy_inside(root):  # brain_tumor_dataset, PlantVillage, cell_images
    for folder in (root, root / "brain_tumor_dataset"):
        write_classes(folder, ("yes", "no"))
    return {"root": "brain_tumor_dataset"}


def ranks(root):  # iNaturalist 2017
    for group, species in (("Aves", ("Ardea alba", "Ara macao")), ("Insecta", ("Apis mellifera",))):
        write_classes(root / "train_val_images" / group, species)
    write_classes(root / "train_val_images" / "Plantae", ("Acer rubrum", "Abies alba"))
    return {"root": "train_val_images", "ranks": ["level_1", "class"]}


def three_ranks(root):
    for path in ("A/Aa/Aaa", "A/Aa/Aab", "A/Ab/Aba", "B/Ba/Baa", "B/Ba/Bab", "B/Bb/Bba"):
        write_pictures(root / path, [f"{number}.jpg" for number in range(3)])
    return {"ranks": ["level_1", "level_2", "class"]}


def groups(root):  # slices of patients
    for name, first in (("benign", 0), ("malignant", 10)):
        for patient in range(first, first + 4):
            write_pictures(root / name / f"patient_{patient:03d}", ["a.png", "b.png"])
    return {"group": "folder"}


def names_with_mask(root):
    write_classes(root, ("with_mask", "without_mask"))
    return {}


LAYOUTS = (
    plain,
    wrapped,
    annotations_without_pictures,
    masks_next_to_pictures,
    train_val_test,
    train_and_val,
    training_and_testing,
    splits_in_folders_of_their_name,
    splits_with_shared_words,
    unsorted_test_set,
    deep_train_folder,
    copy_inside,
    ranks,
    three_ranks,
    groups,
    names_with_mask,
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_layout_is_recognised_and_read(layout, tmp_path):
    expected = layout(tmp_path)
    recognition = ImageFolderSource.recognize(tmp_path)
    root = str(tmp_path / expected.pop("root", ""))
    assert recognition.source == {"name": "image_folder", "root": root, **expected}
    assert recognition.reason
    assert len(list(open_source(ImageFolder(**recognition.source)).samples())) > 5


def test_what_may_be_wrong_is_a_doubt(tmp_path):
    write_classes(tmp_path / "a", ("cat", "unsorted"))
    write_text(tmp_path / "a" / "train_test_split.txt", "1 0\n")
    write_classes(tmp_path / "b", ("type01", "type02", "type03"))
    doubts = ImageFolderSource.recognize(tmp_path / "a").doubts
    assert any("'unsorted'" in doubt for doubt in doubts)
    assert any("'train_test_split.txt'" in doubt for doubt in doubts)
    recognition = ImageFolderSource.recognize(tmp_path / "b")
    assert recognition.doubts and not recognition.sure


def test_folders_that_are_merged_into_a_class_are_a_doubt(tmp_path):
    write_classes(tmp_path, THREE)
    write_classes(tmp_path / "church", ("indoor", "outdoor"))
    (doubt,) = ImageFolderSource.recognize(tmp_path).doubts
    assert "'church'" in doubt and "'indoor', 'outdoor'" in doubt
    write_classes(tmp_path / "cat", ("1", "2"))
    assert len(ImageFolderSource.recognize(tmp_path).doubts) == 1


def test_no_picture_is_no_class_folder(tmp_path):
    write_text(tmp_path / "notes.txt", "hello")
    assert ImageFolderSource.recognize(tmp_path) is None
    assert ImageFolderSource.recognize(tmp_path / "notes.txt") is None


# --- not sorted by class --------------------------------------------------------------------------


def refusal(root) -> str:
    with pytest.raises(TailproofError) as error:
        ImageFolderSource.recognize(root)
    return str(error.value)


def test_versions_of_one_collection_are_refused_by_name(tmp_path):  # PlantVillage
    for version in ("color", "grayscale", "segmented"):
        write_classes(tmp_path / "plantvillage dataset" / version, THREE, 2)
    text = refusal(tmp_path)
    assert f"tailproof import '{tmp_path}/plantvillage dataset/color'" in text


def test_one_class_and_parts_of_one_collection_are_no_classes(tmp_path):
    write_classes(tmp_path / "one", ("cat",))
    assert "'cat'" in refusal(tmp_path / "one")
    for part in ("HAM10000_images_part_1", "HAM10000_images_part_2"):
        write_pictures(tmp_path / "parts" / part, ["ISIC_0024306.jpg", "ISIC_0024307.jpg"])
    assert "HAM10000_images_part_1" in refusal(tmp_path / "parts")


def test_a_file_with_the_labels_is_named(tmp_path):  # Flowers 102
    write_pictures(tmp_path / "jpg", [f"image_{number:05d}.jpg" for number in range(5)])
    write_text(tmp_path / "imagelabels.mat", "MATLAB")
    assert "'imagelabels.mat'" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat.{}.jpg", "dog.{}.jpg"], {"cat", "dog"}),
        (["Abyssinian_{}.jpg", "american_bulldog_{}.JPG"], {"Abyssinian", "american_bulldog"}),
        (["{:04d}-oak.png", "{:04d} - red pine.png"], {"oak", "red pine"}),
    ],
)
def test_the_command_for_labels_in_names_writes_their_table(names, labels, tmp_path):
    folder = tmp_path / "my pictures"
    write_pictures(folder, [name.format(number) for name in names for number in range(9)])
    command = re.search(r"`(cd .*?labels\.csv)`", refusal(folder))[1]
    subprocess.run(["bash", "-c", command], check=True, cwd=tmp_path)
    header, *rows = (folder / "labels.csv").read_text().splitlines()
    assert header == "filename,label"
    assert Counter(row.split(",")[1] for row in rows) == dict.fromkeys(labels, 9)


def test_the_command_for_places_above_classes_writes_labels_and_groups(tmp_path):  # PKLot
    for place in ("PUC", "UFPR04"):
        for day in ("2012-09-12", "2012-09-13"):
            write_classes(tmp_path / "PKLot" / place / day, ("Empty", "Occupied"), 2)
    command = re.search(r"`(cd .*?labels\.csv)`", refusal(tmp_path))[1]
    subprocess.run(["bash", "-c", command], check=True)
    rows = (tmp_path / "PKLot" / "labels.csv").read_text().splitlines()[1:]
    counts = Counter(tuple(row.split(",")[1:]) for row in rows)
    assert counts == {(c, p): 4 for c in ("Empty", "Occupied") for p in ("PUC", "UFPR04")}


def test_names_with_running_numbers_alone_hold_no_labels(tmp_path):
    write_pictures(tmp_path, [f"IMG_2023010{day}_{n:04d}.jpg" for day in (1, 2) for n in range(9)])
    assert "labels.csv" not in refusal(tmp_path)


def test_a_huge_folder_is_looked_at_in_part(tmp_path):
    names = [f"class {number:04d}" for number in range(400)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    recognition = ImageFolderSource.recognize(tmp_path)
    assert "400" in recognition.reason


def test_a_table_next_to_class_folders_changes_nothing(tmp_path):
    write_classes(tmp_path, THREE)
    write_table(tmp_path / "classes.csv", ["class", "name"], [[name, name] for name in THREE])
    assert ImageFolderSource.recognize(tmp_path).sure
