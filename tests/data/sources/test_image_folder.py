import os
import socket
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tailproof.config.data import Data
from tailproof.data.images import encode_png
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import files_to_read, list_raw, replaced_raw
from tailproof.data.sources import Sample, open_source
from tailproof.data.sources.folders.folder_survey import survey_folder
from tailproof.data.sources.image_folder import ImageFolder, ImageFolderSource
from tailproof.runtime.errors import TailproofError


def write(root: Path, *paths: str) -> None:
    for shade, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_png(np.full((2, 2), shade, np.uint8)))


def source(root: Path, **options) -> ImageFolderSource:
    return open_source(ImageFolder(name="image_folder", root=str(root), **options))


def paths(opened: ImageFolderSource) -> list[str]:
    return [sample.path for sample in opened.samples()]


def test_folders_are_classes_and_files_their_samples(tmp_path):
    write(tmp_path, "owl/2.png", "cat/b.JPG", "owl/1.webp", "cat/deep/er/a.Tiff", "cat/c.jpeg")
    opened = source(tmp_path)
    assert opened.classes == {"class": ["cat", "owl"]}
    assert paths(opened) == [
        "cat/b.JPG",
        "cat/c.jpeg",
        "cat/deep/er/a.Tiff",
        "owl/1.webp",
        "owl/2.png",
    ]
    assert len(opened) == 5
    assert next(opened.samples()) == Sample("cat/b.JPG", {"class": "cat"}, "cat/b.JPG")
    assert opened.files() == [tmp_path / path for path in paths(opened)]
    assert opened.read("owl/2.png", None) == (tmp_path / "owl/2.png").read_bytes()


def test_train_and_test_folders_are_the_pools(tmp_path):
    write(tmp_path, "fit/cat/1.png", "fit/owl/1.png", "check/owl/1.png", "extra/dog/1.png")
    opened = source(tmp_path, train="fit", test="check")
    assert [(sample.sample_id, sample.pool) for sample in opened.samples()] == [
        ("fit/cat/1.png", "train"),
        ("fit/owl/1.png", "train"),
        ("check/owl/1.png", "held_out"),
    ]
    alone = source(tmp_path, train="fit")
    assert [(sample.sample_id, sample.pool) for sample in alone.samples()] == [
        ("fit/cat/1.png", None),
        ("fit/owl/1.png", None),
    ]


def test_hidden_and_other_files_are_passed_over_and_counted(tmp_path):
    write(tmp_path, "cat/1.png", "cat/._1.png", "cat/.git/2.png", ".owl/3.png", "cat/4.gif")
    (tmp_path / "README.md").write_text("not a class")
    opened = source(tmp_path)
    assert paths(opened) == ["cat/1.png"]
    assert sorted((item.count, item.examples) for item in opened.skipped()) == [
        (1, (".owl/3.png",)),
        (1, ("cat/._1.png",)),
        (1, ("cat/.git/2.png",)),
        (1, ("cat/4.gif",)),
    ]


def test_links_are_followed_and_circles_end(tmp_path):
    write(tmp_path, "elsewhere/a.png", "elsewhere/more/b.png", "root/cat/1.png")
    root = tmp_path / "root"
    (root / "owl").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (root / "cat" / "circle").symlink_to(root / "cat")
    opened = source(root)
    assert paths(opened) == ["cat/1.png", "cat/linked.png", "owl/a.png", "owl/more/b.png"]
    assert opened.read("cat/linked.png", None) == (tmp_path / "elsewhere/a.png").read_bytes()


def test_a_survey_follows_no_link_to_a_folder_that_contains_it(tmp_path):
    write(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "dog" / "other").symlink_to(tmp_path / "cat")
    folders = [folder.path for folder in survey_folder(tmp_path).below()]
    assert folders == ["", "cat", "dog", "dog/other"]


def test_a_root_that_is_a_link_to_itself_is_named_as_such(tmp_path):
    (tmp_path / "photos").symlink_to("photos")
    with pytest.raises(TailproofError, match="link to itself"):
        source(tmp_path / "photos").files()


@pytest.mark.parametrize("content", [None, "notes.txt", ".hidden.png"])
def test_a_folder_without_any_picture_is_no_class(tmp_path, content):
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "owl").mkdir()
    if content:
        (tmp_path / "owl" / content).touch()
    opened = source(tmp_path)
    assert opened.classes == {"class": ["cat", "dog"]}
    assert ("owl",) in [item.examples for item in opened.skipped()]


@pytest.mark.parametrize("content", ["1.gif", "2.PSD", "3", "4.jpg_large"])
def test_classes_of_pictures_that_are_not_read_are_all_named(tmp_path, content):
    write(tmp_path, "cat/1.png", f"owl/{content}", f"elk/{content}")
    with pytest.raises(TailproofError, match=r"2 class.*'elk' .*: 1\).*'owl' .*: 1\)"):
        source(tmp_path).files()


@pytest.mark.parametrize("outside", ["/train", "../train"])
def test_pools_lie_below_the_root(tmp_path, outside):
    with pytest.raises(ValidationError, match=outside):
        source(tmp_path, train=outside)


def test_snakemake_gets_no_path_that_it_takes_for_a_pattern(tmp_path):
    """The names of such files count here, and their content as that of all others."""
    root = tmp_path / "raw"
    write(root, "cat/a{1}.png", "<owl>/1.png", "cat/2.png")
    data = Data(source={"name": "image_folder", "root": str(root)})
    raw = tmp_path / "raw.parquet"
    before = files_to_read(data, raw)
    assert before.inputs == [root / "cat/2.png"]
    list_raw(data, tmp_path / "samples.parquet", raw, prepare(data, tmp_path / "samples.parquet"))
    (root / "<owl>/1.png").write_bytes((root / "cat/2.png").read_bytes())
    assert files_to_read(data, raw) == before
    assert replaced_raw(data, raw, 0, tmp_path / "seen") == [str(root / "<owl>/1.png")]
    (root / "<owl>/1.png").rename(root / "<owl>/2.png")
    assert files_to_read(data, raw).digest != before.digest


def test_files_are_the_same_where_the_raw_data_are_not(tmp_path, monkeypatch):
    root = tmp_path / "raw"
    write(root, "cat/a{1}.png", "<owl>/1.png", "cat/2.png")
    data = Data(source={"name": "image_folder", "root": str(root)})
    prepare(data, tmp_path / "samples.parquet")
    list_raw(data, tmp_path / "samples.parquet", tmp_path / "raw.parquet")
    before = files_to_read(data, tmp_path / "raw.parquet")
    root.rename(tmp_path / "elsewhere")
    assert files_to_read(data, tmp_path / "raw.parquet") == before
    monkeypatch.setattr("tailproof.data.raw_checksums.MOST_INPUTS", 0)
    everything = files_to_read(data, tmp_path / "raw.parquet")
    (tmp_path / "elsewhere").rename(root)
    assert files_to_read(data, tmp_path / "raw.parquet") == everything


def test_a_class_that_only_the_test_folder_has_is_an_error(tmp_path):
    write(tmp_path, "train/cat/1.png", "test/cat/1.png", "test/owl/1.png")
    with pytest.raises(TailproofError, match=f"{tmp_path / 'test' / 'owl'}.* no folder"):
        source(tmp_path, train="train", test="test").files()


@pytest.mark.parametrize("other", ["Test", "val", "validation"])
def test_split_folders_are_not_taken_for_classes(tmp_path, other):
    write(tmp_path, "Train/cat/1.png", f"{other}/cat/1.png")
    with pytest.raises(TailproofError, match=rf"train: Train, test: {other}\b"):
        source(tmp_path).files()


@pytest.mark.parametrize("options", [{}, {"train": "fit"}])
def test_a_missing_root_is_named(tmp_path, options):
    root = tmp_path / "nowhere"
    with pytest.raises(TailproofError, match=f"{root.joinpath(*options.values())} is not a folder"):
        source(root, **options).files()


def test_a_root_without_folders_is_an_error(tmp_path):
    write(tmp_path, "1.png")
    with pytest.raises(TailproofError, match=r"no folder.* one sub-folder per class"):
        source(tmp_path).files()


def test_a_name_that_is_no_text_is_an_error(tmp_path):
    write(tmp_path, "cat/1.png")
    (tmp_path / "cat" / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(TailproofError, match=r"not in valid UTF-8.*cat/\\udcff.png"):
        source(tmp_path).files()


def test_what_cannot_be_read_is_passed_over_and_counted(tmp_path, monkeypatch):
    write(tmp_path, "cat/1.png", "owl/1.png")
    cat = tmp_path / "cat"
    (cat / "2.png").symlink_to(tmp_path / "gone")
    (cat / "3.png").symlink_to(cat / "3.png")
    os.mkfifo(cat / "4.png")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(cat)
        listener.bind("5.png")
    (cat / "6").symlink_to(tmp_path.parent)
    (tmp_path / "owl" / "6").symlink_to("..")
    opened = source(tmp_path)
    assert paths(opened) == ["cat/1.png", "owl/1.png"]
    assert sorted(item.examples for item in opened.skipped()) == [
        ("cat/2.png", "cat/3.png"),
        ("cat/4.png", "cat/5.png"),
        ("cat/6", "owl/6"),
    ]
    with pytest.raises(TailproofError, match=r"cat/2\.png is a link to a file that does not exist"):
        opened.read("cat/2.png", None)
    with pytest.raises(TailproofError, match=r"cat/4\.png is a pipe"):
        opened.read("cat/4.png", None)


def test_a_class_of_dead_links_is_an_error(tmp_path):
    """As git-annex and DVC leave files that were not fetched."""
    write(tmp_path, "cat/1.png")
    (tmp_path / "owl").mkdir()
    for number in range(3):
        (tmp_path / "owl" / f"{number}.png").symlink_to(tmp_path / "gone")
    with pytest.raises(TailproofError, match=r"'owl' \(links .*: 3\)"):
        source(tmp_path).files()


def test_levels_of_folders_are_ranks(tmp_path):
    write(tmp_path, "cats/lynx/1.png", "cats/puma/deep/2.png", "cats/3.png", "dogs/wolf/4.png")
    opened = source(tmp_path, ranks=["family", "species"])
    assert opened.classes == {"family": ["cats", "dogs"], "species": ["lynx", "puma", "wolf"]}
    assert {sample.path: tuple(sample.labels.values()) for sample in opened.samples()} == {
        "cats/3.png": ("cats", None),
        "cats/lynx/1.png": ("cats", "lynx"),
        "cats/puma/deep/2.png": ("cats", "puma"),
        "dogs/wolf/4.png": ("dogs", "wolf"),
    }
    write(tmp_path, "dogs/lynx/5.png")
    with pytest.raises(TailproofError, match=r"lynx.*dogs.*cats"):
        list(source(tmp_path, ranks=["family", "species"]).samples())


def test_ranks_of_pools_and_a_species_that_only_test_has(tmp_path):
    write(tmp_path, "train/cats/lynx/1.png", "train/dogs/wolf/2.png", "test/cats/lynx/3.png")
    options = {"train": "train", "test": "test", "ranks": ["family", "species"]}
    assert len(source(tmp_path, **options)) == 3
    write(tmp_path, "test/cats/puma/4.png")
    with pytest.raises(TailproofError, match=f"{tmp_path}/test/cats/puma"):
        list(source(tmp_path, **options).samples())


def test_folders_inside_class_folders_are_groups_if_the_user_says_so(tmp_path):
    write(tmp_path, "ill/p1/1.png", "ill/p1/x/2.png", "ill/3.png", "well/p2/4.png", "well/p2/5.png")
    opened = source(tmp_path, group="folder")
    assert [sample.group for sample in opened.samples()] == [
        None,
        "ill/p1",
        "ill/p1",
        "well/p2",
        "well/p2",
    ]
    assert opened.warnings() == []
