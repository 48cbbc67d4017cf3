"""The collections that the page on own images shows are read as the page says."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tailproof.config.data import Data
from tailproof.data.sources import Source, open_source
from tests.data.sources.pictures import write_pictures
from tests.data.sources.test_coco_json import FILES, content
from tests.data.sources.test_image_list import LISTS, images_of

PAGE = Path(__file__).parents[3] / "docs" / "your-own-images.md"
BLOCKS = [
    yaml.safe_load(block)["data"]
    for block in re.findall(r"^```yaml\n(data:.*?)^```", PAGE.read_text(), re.M | re.S)
]


def shown(root: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """The source that the page shows for a root, in a folder of its own."""
    monkeypatch.chdir(folder)
    Path(root).mkdir()
    (block,) = (block for block in BLOCKS if block["source"].get("root") == root)
    return open_source(Data(source=block["source"]).source)


def copy(name: str, target: Path) -> list[str]:
    """Copy a JSON file, and return the images that it lists."""
    shutil.copy(FILES / f"{name}.json", target)
    return [image["file_name"] for image in content(name).get("images", ())]


def test_imagenet_lt(tmp_path, monkeypatch):
    source = shown("imagenet", tmp_path, monkeypatch)
    for name, text in LISTS.items():
        Path("imagenet", f"ImageNet_LT_{name}.txt").write_text(text)
        write_pictures(Path("imagenet"), images_of(text))
    Path("imagenet/classnames.txt").write_text("tench\ngoldfish\ngreat white shark\n")
    assert len(list(source.samples())) == 9
    assert source.classes == {"class": ["tench", "goldfish", "great white shark"]}


def test_inaturalist(tmp_path, monkeypatch):
    source = shown("inat2021", tmp_path, monkeypatch)
    for name in ("train", "val"):
        images = copy("inat2021_val", Path(f"inat2021/{name}.json"))
        text = Path(f"inat2021/{name}.json").read_text().replace("val/", f"{name}/")
        Path(f"inat2021/{name}.json").write_text(text)
        write_pictures(Path("inat2021"), [image.replace("val/", f"{name}/") for image in images])
    assert len(list(source.samples())) == 6
    assert source.ranks[-1] == "name"


def test_camera_traps(tmp_path, monkeypatch):
    source = shown("caltech", tmp_path, monkeypatch)
    copy("caltech_camera_traps_splits", Path("caltech"))
    write_pictures(Path("caltech/cct_images"), copy("caltech_camera_traps", Path("caltech")))
    assert [(sample.group, sample.pool) for sample in source.samples()] == [
        ("38", "train"),
        ("38", "train"),
        ("26", "held_out"),
    ]


def test_crops_of_megadetector(tmp_path, monkeypatch):
    source = shown("traps", tmp_path, monkeypatch)
    copy_of_output = Path("traps/md_results.json")
    shutil.copy(FILES / "megadetector.json", copy_of_output)
    write_pictures(Path("traps"), ["lynx/IMG_0001.JPG", "otter/IMG_0001.JPG"])
    assert len(list(source.samples())) == 3


def test_crops_of_annotations(tmp_path, monkeypatch):
    source = shown("coco", tmp_path, monkeypatch)
    images = copy("caltech_camera_traps", Path("coco/instances.json"))
    write_pictures(Path("coco/pictures"), images)
    assert [sample.labels["name"] for sample in source.samples()] == ["bobcat", "bobcat"]


def test_crops_of_a_table(tmp_path, monkeypatch):
    source = shown("songbirds", tmp_path, monkeypatch)
    write_pictures(Path("songbirds"), ["a.png"])
    Path("songbirds/boxes.csv").write_text("filename,species,x,y,w,h\na.png,wren,0,0,3,2\n")
    assert len(list(source.samples())) == 1
