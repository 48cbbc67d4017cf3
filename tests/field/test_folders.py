"""Image folders as people have them: leftovers of other software, splits, levels, and names."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tailproof.config.data import Data
from tailproof.config.validation import load_experiment
from tailproof.data.images import encode_png
from tailproof.data.prepare import prepare
from tailproof.data.sources import open_source
from tailproof.data.sources.folders.class_names import plain_name
from tailproof.data.sources.folders.filesystem import LEFTOVER_FOLDERS
from tailproof.data.sources.folders.split_names import split_kind
from tailproof.data.sources.image_folder import ImageFolder, ImageFolderSource
from tailproof.data.splits import split
from tailproof.runtime.errors import TailproofError
from tests.project import TINY
from tests.workflow.test_staleness import expected_jobs


def write(root: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4), dtype=np.uint8)
        file.write_bytes(encode_png(pixels))


def tree(tops: list[str], folders: list[str], pictures: int = 2) -> list[str]:
    return [f"{t}/{f}/{number}.png" for t in tops for f in folders for number in range(pictures)]


def source(root: Path, **options) -> ImageFolderSource:
    return open_source(ImageFolder(name="image_folder", root=str(root), **options))


def counts(opened: ImageFolderSource) -> dict[str, int]:
    """The number of files left out, by the first of the examples."""
    return {skipped.examples[0]: skipped.count for skipped in opened.skipped()}


def advised(root: Path, **options) -> dict:
    """The configuration that a refusal says to write."""
    with pytest.raises(TailproofError) as caught:
        source(root, **options).files()
    return yaml.safe_load(re.search("`(.*)`", str(caught.value))[1])["data"]["source"]


LEFTOVERS = [
    "@eaDir/1.png/SYNOPHOTO_THUMB_S.png",
    "__MACOSX/cat/._1.png",
    "#recycle/1.png",
    "@Recycle/1.png",
    ".@__thumb/s1001.jpg",
    ".thumbnails/1.png",
    ".picasaoriginals/1.png",
    ".Spotlight-V100/1.png",
    ".Trashes/501/1.png",
    ".Trash-1000/files/1.png",
    "$RECYCLE.BIN/S-1-5/1.png",
    "System Volume Information/1.png",
    "lost+found/1.png",
    ".ipynb_checkpoints/1-checkpoint.png",
    ".git/1.png",
    ".svn/pristine/1.png",
    ".dvc/cache/1.png",
    "Catalog Previews.lrdata/1.jpg",
]


@pytest.mark.parametrize("leftover", LEFTOVERS)
@pytest.mark.parametrize("place", ["cat/", "", "cat/deep/"])
def test_what_other_software_leaves_is_no_sample(tmp_path, leftover, place):
    write(tmp_path, "cat/1.png", "cat/deep/2.png", "dog/1.png", place + leftover)
    opened = source(tmp_path)
    assert len(opened) == 3
    assert opened.classes == {"class": ["cat", "dog"]}
    assert counts(opened) == {place + leftover: 1}


@pytest.mark.parametrize(
    "name",
    [
        "SYNOPHOTO_THUMB_XL.jpg",
        "._1.png",
        ".DS_Store",
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "Icon\r",
        ".2.png.icloud",
        "anim.gif",
        "2.png.part",
        "2.png~",
        "noend",
    ],
)
def test_a_file_that_is_no_picture_is_counted(tmp_path, name):
    write(tmp_path, "cat/1.png", "dog/1.png", f"cat/{name}")
    opened = source(tmp_path)
    assert len(opened) == 2
    assert counts(opened) == {f"cat/{name}": 1}


def test_files_are_counted_by_reason(tmp_path):
    thumbnails = [f"{name}/@eaDir/{n}.png/THUMB.png" for name in ("cat", "dog") for n in range(30)]
    pictures = tree(["cat"], ["."], 30) + tree(["dog"], ["."], 30)
    strays = [f"stray{n:02d}.png" for n in range(15)]
    gifs = [f"cat/anim{n:02d}.gif" for n in range(25)]
    write(tmp_path, *pictures, *thumbnails, *strays, *gifs, ".unknown/1.png", ".unknown/2.png")
    (tmp_path / "owl").mkdir()
    opened = source(tmp_path)
    assert len(opened) == 60
    assert counts(opened) == {
        "cat/@eaDir/0.png/THUMB.png": 60,
        "stray00.png": 15,
        "cat/anim00.gif": 25,
        ".unknown/1.png": 2,
        "owl": 1,
    }


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("train2017", "val2017"),
        ("Train-Images", "Test-Images"),
        ("TrainData", "TestData"),
        ("Trainingsdaten", "Testdaten"),
        ("train", "holdout"),
        ("TRAIN", "Validation"),
    ],
)
def test_splits_are_refused_with_the_lines_to_write(tmp_path, train, test):
    write(tmp_path / "brain", *tree([train, test], ["glioma", "no tumour"]))
    expected = {
        "name": "image_folder",
        "root": str(tmp_path / "brain"),
        "train": train,
        "test": test,
    }
    assert advised(tmp_path / "brain") == expected
    assert advised(tmp_path) == expected
    right = source(Path(expected["root"]), train=train, test=test)
    assert len(right) == 8
    assert right.skipped() == []
    assert right.warnings() == []


def test_the_lines_name_the_folder_of_the_classes(tmp_path):
    """A second folder of the same name, and a third one without classes."""
    write(tmp_path, *tree(["seg_train/seg_train", "seg_test/seg_test"], ["sea", "street"]))
    write(tmp_path, "seg_pred/seg_pred/1.png")
    value = advised(tmp_path)
    assert (value["train"], value["test"]) == ("seg_train/seg_train", "seg_test/seg_test")
    wrong = {"train": "seg_train", "test": "seg_test"}
    assert advised(tmp_path, **wrong)["train"] == "seg_train/seg_train"
    opened = source(tmp_path, train=value["train"], test=value["test"])
    assert len(opened) == 8
    assert counts(opened) == {"seg_pred/seg_pred/1.png": 1}


@pytest.mark.parametrize(
    "tops", [["siteA", "siteB"], ["fold1", "fold2", "fold3"], ["entrainement", "essai"], "ABCDEFG"]
)
def test_folders_with_the_same_folders_are_refused(tmp_path, tops):
    """Either of the two may be the classes, and nothing says which."""
    write(tmp_path, *tree(list(tops), ["cat", "dog", "owl"]))
    with pytest.raises(TailproofError, match=rf"'{tops[0]}'.*'{tops[1]}'.*'cat', 'dog'"):
        source(tmp_path).files()


@pytest.mark.parametrize("folders", [["images", "masks"], ["images", "ground_truth"]])
def test_masks_are_no_samples(tmp_path, folders):
    write(tmp_path, *tree(["covid", "normal"], folders))
    with pytest.raises(TailproofError, match=f"'{folders[1]}' are masks"):
        source(tmp_path).files()


@pytest.mark.parametrize("mask", ["covid/masks/1.png", "covid/2_mask.png", "covid/2 (mask) 1.png"])
def test_what_may_be_a_mask_is_reported(tmp_path, mask):
    write(tmp_path, "covid/2.png", "normal/1.png", mask)
    expected = 0 if "(" in mask else 1
    assert sum(mask in warning for warning in source(tmp_path).warnings()) == expected


def test_splits_inside_classes_are_refused(tmp_path):
    write(tmp_path, *tree(["cat", "dog"], ["train", "test"]))
    value = advised(tmp_path)
    assert (value["train"], value["test"]) == ("train", "test")


@pytest.mark.parametrize("between", ["", "kaggle/", "kaggle/data/"])
def test_a_root_one_folder_too_high_is_refused(tmp_path, between):
    write(tmp_path / "archive", *(f"{between}PetImages/{p}" for p in tree(["Cat", "Dog"], ["."])))
    (tmp_path / "archive/readme.txt").touch()
    assert advised(tmp_path / "archive")["root"] == str(tmp_path / f"archive/{between}PetImages")


def test_one_training_folder_next_to_others_is_a_split(tmp_path):
    write(tmp_path, *tree(["train"], ["cat", "dog"]), "figures/1.png")
    assert advised(tmp_path)["train"] == "train"


def test_classes_may_have_folders(tmp_path):
    write(tmp_path, *tree(["cat", "dog"], ["images"]), *tree(["train"], ["."]))
    assert source(tmp_path).classes == {"class": ["cat", "dog", "train"]}
    write(tmp_path / "patients", *tree(["ill"], ["p1", "p2"]), *tree(["well"], ["p3", "p4"]))
    opened = source(tmp_path / "patients")
    assert len(opened) == 8
    assert sum("'ill/p1'" in warning for warning in opened.warnings()) == 1


def test_thumbnails_in_a_folder_of_their_own_are_reported(tmp_path):
    write(tmp_path, "cat/1.png", "cat/small/1.jpg", "dog/1.png")
    assert sum("'cat/small/1.jpg'" in warning for warning in source(tmp_path).warnings()) == 1


@pytest.mark.parametrize("folder", ["val", "Validation", "dev"])
def test_an_official_validation_set_is_used(tmp_path, folder):
    write(tmp_path, *tree(["train", folder, "test"], ["cat", "dog"], 6))
    value = advised(tmp_path)
    assert value["val"] == folder
    data = Data(source=value)
    prepare(data, tmp_path / "samples.parquet")
    split(tmp_path / "samples.parquet", data, tmp_path / "splits.parquet", tmp_path / "splits.json")
    splits = pq.read_table(tmp_path / "splits.parquet").to_pylist()
    val = {row["sample_id"] for row in splits if row["split"] == "val"}
    assert val == set(tree([folder], ["cat", "dog"], 6))


@pytest.mark.parametrize("third", ["val", "dev", "extra", "unlabelled"])
def test_a_folder_that_the_configuration_leaves_out_is_counted(tmp_path, third):
    write(tmp_path, *tree(["train", "test", third], ["cat", "dog"], 3), "stray.png")
    opened = source(tmp_path, train="train", test="test")
    assert len(opened) == 12
    assert counts(opened) == {f"{third}/cat/0.png": 6, "stray.png": 1}
    assert sum(str(tmp_path / third) in warning for warning in opened.warnings()) == 1
    alone = source(tmp_path, train="train")
    assert sorted(counts(alone).values()) == [1, 6, 6]
    assert len(alone.warnings()) == 2


def test_a_class_without_a_test_folder_is_reported(tmp_path):
    write(tmp_path, *tree(["train"], ["cat", "dog", "owl"]), *tree(["test"], ["cat", "dog"]))
    (warning,) = source(tmp_path, train="train", test="test").warnings()
    assert "'owl'" in warning


@pytest.mark.parametrize(("train", "test"), [("a", "a"), ("a", "./a/"), ("a", "a/cat"), (".", "b")])
def test_no_pool_contains_the_other(tmp_path, train, test):
    with pytest.raises(ValidationError):
        source(tmp_path, train=train, test=test)
    with pytest.raises(ValidationError):
        source(tmp_path, train="c", val=train, test=test)


def test_no_pool_is_a_link_to_the_other(tmp_path):
    write(tmp_path, *tree(["train"], ["cat", "dog"]))
    (tmp_path / "test").symlink_to("train")
    with pytest.raises(TailproofError, match="same folder"):
        source(tmp_path, train="train", test="test").files()


def test_no_class_is_a_link_to_another(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "owl").symlink_to("cat")
    with pytest.raises(TailproofError, match="'cat' and 'owl'"):
        source(tmp_path).files()


NFC, NFD = (unicodedata.normalize(form, "Épicéa") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("first", "second"),
    [("Cat", "cat"), ("cat", "cat "), ("a  b", "a b"), (NFC, NFD), ("cat", "cat\u200b")],
)
def test_two_spellings_of_a_class_are_refused(tmp_path, first, second):
    write(tmp_path, f"{first}/1.png", f"{second}/1.png", f"{second}/2.png", "owl/1.png")
    with pytest.raises(TailproofError, match=r"\([12] pictures?\).*\([12] pictures?\)"):
        source(tmp_path).files()
    write(tmp_path / "pools", *tree(["train"], [first, "owl"]), *tree(["test"], [second, "owl"]))
    with pytest.raises(TailproofError, match="rename one"):
        source(tmp_path / "pools", train="train", test="test").files()


@pytest.mark.parametrize(
    ("first", "second"), [("a", "A"), ("red fox", "red_fox"), ("fox", "fox (1)")]
)
def test_names_that_may_be_two_classes_are_reported(tmp_path, first, second):
    write(tmp_path, f"{first}/1.png", f"{second}/1.png", "owl/1.png")
    (warning,) = source(tmp_path).warnings()
    assert repr(first) in warning
    assert repr(second) in warning


@pytest.mark.parametrize("name", ["photo", "Photos", "photos ", "photos\\cat", "~/p"])
def test_a_root_that_is_no_folder_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "photos/cat/1.png")
    with pytest.raises(TailproofError, match=f"{re.escape(name)} is not a folder"):
        source(Path(name)).files()


def test_pictures_without_class_folders_are_an_error(tmp_path):
    write(tmp_path, "1.png", "2.png")
    with pytest.raises(TailproofError, match="2 pictures"):
        source(tmp_path).files()


NAMES = [
    *("<unknown>", "<results>", "{experiment}", "{{x}}", "*?[a]", "-dash", "=SUM(1)", "@at"),
    *(
        "new\nline",
        "trailing.",
        "a\u200fb",
        "CON",
        "NA",
        "nan",
        "null",
        "None",
        "true",
        "1e5",
        "007",
        "7",
    ),
    *(" lead", "'q' \"d\"", "a%20b#c&d;e", "x" * 200, NFD, "back\\slash", "$HOME", "~", "a:b|c"),
]


def test_every_name_comes_out_as_it_went_in(project):
    """Names that Snakemake, YAML, CSV or pandas may take for something else."""
    root = project.folder / "raw {<photos>}"
    write(root, *(f"{name}/{n} {{{n}}} <a>.png" for name in NAMES for n in range(14)))
    data = {"source": {"name": "image_folder", "root": root.name}}
    project.write("config/experiments/tiny.yaml", {**TINY, "data": data})
    project.write("config/experiments/a{b} <c>.yaml", TINY)
    done = project.snakemake("results/tiny/splits.parquet")
    assert done.returncode == 0, done.stderr
    samples = pq.read_table(project.results / "samples.parquet")
    assert samples["class"].unique().to_pylist() == sorted(NAMES)
    assert len(pq.read_table(project.results / "raw.parquet")) == 14 * len(NAMES)
    again = project.plan("results/tiny/splits.parquet")
    assert "Nothing to be done" in again.stdout + again.stderr
    (root / "<unknown>/0 {0} <a>.png").write_bytes(encode_png(np.eye(4, dtype=np.uint8)))
    changed = project.plan("results/tiny/splits.parquet")
    assert "prepare" in expected_jobs(changed)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
        .filter(lambda name: len(name.encode()) < 200)
        .filter(lambda name: not name.startswith((".", "@", "#"))),
        min_size=2,
        max_size=4,
    )
)
def test_any_name_is_the_name_of_a_class(tmp_path_factory, names):
    assume(len({plain_name(name) for name in names}) == len(names))
    assume(not any(split_kind(name) or LEFTOVER_FOLDERS.fullmatch(name.lower()) for name in names))
    root = tmp_path_factory.mktemp("raw")
    write(root, *(f"{name}/{n}.png" for name in names for n in range(9)))
    data = Data(source={"name": "image_folder", "root": str(root)})
    prepare(data, root.with_suffix(".parquet"))
    split(root.with_suffix(".parquet"), data, root.with_suffix(".s"), root.with_suffix(".json"))
    samples = pq.read_table(root.with_suffix(".parquet"))
    assert samples["class"].unique().to_pylist() == sorted(names)


@pytest.mark.parametrize(
    "name",
    ["photos.yml", "photos.YAML", "photos.yaml.txt", "photos", "photos .yaml", "a/photos.yaml"],
)
def test_an_experiment_under_another_name_is_named(tmp_path, name):
    file = tmp_path / "experiments" / name
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(TailproofError, match=re.escape(str(file))):
        load_experiment(tmp_path / "experiments/photos.yaml")


@pytest.mark.parametrize("name", ["photos.yaml", "photos.yml"])
def test_the_name_of_an_experiment_has_no_ending(tmp_path, name):
    (tmp_path / "photos.yaml").touch()
    with pytest.raises(TailproofError, match=r"'photos'$"):
        load_experiment(tmp_path / f"{name}.yaml")


@pytest.mark.parametrize("name", ["my photos", "a{b}", "<photos>", "-photos", "größe"])
def test_an_experiment_cannot_have_every_name(tmp_path, name):
    (tmp_path / f"{name}.yaml").touch()
    with pytest.raises(TailproofError, match="rename"):
        load_experiment(tmp_path / f"{name}.yaml")


def test_the_workflow_names_the_file_of_another_ending(project):
    project.write("config/experiments/photos.yml", TINY)
    done = project.plan("results/photos/report/index.html")
    assert done.returncode == 1
    assert "config/experiments/photos.yml" in done.stdout + done.stderr
