import logging
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tailproof.config.data import Data
from tailproof.data.images import encode_png
from tailproof.data.raw_checksums import files_to_read
from tailproof.data.sources import Sample, open_source
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


def test_hidden_and_other_files_are_passed_over_and_the_latter_counted(tmp_path, caplog):
    write(tmp_path, "cat/1.png", "cat/._1.png", "cat/.git/2.png", ".cache/3.png", "cat/4.gif")
    (tmp_path / "README.md").write_text("not a class")
    with caplog.at_level(logging.WARNING):
        assert paths(source(tmp_path)) == ["cat/1.png"]
    (record,) = caplog.records
    assert record.args == (tmp_path / "cat", 1)


def test_links_are_followed_and_circles_end(tmp_path):
    write(tmp_path, "elsewhere/a.png", "elsewhere/more/b.png", "root/cat/1.png")
    root = tmp_path / "root"
    (root / "owl").symlink_to(tmp_path / "elsewhere")
    (root / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (root / "cat" / "circle").symlink_to(root / "cat")
    opened = source(root)
    assert paths(opened) == ["cat/1.png", "cat/linked.png", "owl/a.png", "owl/more/b.png"]
    assert opened.read("cat/linked.png", None) == (tmp_path / "elsewhere/a.png").read_bytes()


@pytest.mark.parametrize("content", [None, "notes.txt", ".hidden.png"])
def test_a_class_with_no_image_is_an_error(tmp_path, content):
    write(tmp_path, "cat/1.png")
    (tmp_path / "owl").mkdir()
    if content:
        (tmp_path / "owl" / content).touch()
    with pytest.raises(TailproofError, match=f"{tmp_path / 'owl'}.* no image"):
        list(source(tmp_path).samples())


@pytest.mark.parametrize("outside", ["/train", "../train"])
def test_pools_lie_below_the_root(tmp_path, outside):
    with pytest.raises(ValidationError, match=outside):
        source(tmp_path, train=outside)


def test_a_name_with_braces_is_refused_since_snakemake_reads_them(tmp_path):
    write(tmp_path, "cat/a{1}.png")
    data = Data(source={"name": "image_folder", "root": str(tmp_path)})
    with pytest.raises(TailproofError, match=r"a\{1\}\.png.* braces"):
        files_to_read(data, tmp_path / "raw.parquet")


def test_a_class_that_only_the_test_folder_has_is_an_error(tmp_path):
    write(tmp_path, "train/cat/1.png", "test/cat/1.png", "test/owl/1.png")
    with pytest.raises(TailproofError, match=f"{tmp_path / 'test' / 'owl'}.* no folder"):
        source(tmp_path, train="train", test="test").files()


@pytest.mark.parametrize("other", ["Test", "val", "validation"])
def test_split_folders_are_not_taken_for_classes(tmp_path, other):
    write(tmp_path, "Train/cat/1.png", f"{other}/cat/1.png")
    with pytest.raises(TailproofError, match=r"data\.source\.train and data\.source\.test"):
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
    with pytest.raises(TailproofError, match=r"cat/\\udcff.png'.*is not valid UTF-8"):
        source(tmp_path).files()


def test_a_dead_link_is_named(tmp_path):
    write(tmp_path, "cat/1.png")
    (tmp_path / "cat" / "2.png").symlink_to(tmp_path / "gone")
    with pytest.raises(TailproofError, match=f"{tmp_path / 'cat/2.png'} does not exist"):
        source(tmp_path).read("cat/2.png", None)
