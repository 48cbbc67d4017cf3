"""Pictures that are still in an archive: every source says which, and how to unpack it."""

import bz2
import gzip
import json
import lzma
import subprocess
import tarfile
import zipfile

import pytest

from tailproof.config.data import Data
from tailproof.data.sources import open_source
from tailproof.data.sources.archives.packed_files import unpack_command
from tailproof.runtime.errors import TailproofError

SOURCES = {
    "image_folder": {},
    "image_list": {"list": "list.txt"},
    "metadata_csv": {
        "table": "table.csv",
        "images": "images",
        "filename": "file",
        "ranks": ["label"],
        "group": None,
    },
    "coco_json": {"file": "coco.json", "images": "images"},
    "parquet": {},
    "webdataset": {},
    "huggingface_folder": {},
}
LISTS = ("image_list", "metadata_csv", "coco_json")
COMPRESSION = {".gz": gzip, ".bz2": bz2, ".xz": lzma}


def refusal(name: str, root, **options) -> str:
    source = {"name": name, "root": str(root), **SOURCES[name], **options}
    with pytest.raises(TailproofError) as error:
        list(open_source(Data(source=source).source).samples())
    return str(error.value)


def packed(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/1.png", "a picture")
    return path


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("place", ["photos", "photos/inside", "photos.zip/inside"])
def test_a_root_in_an_archive_says_how_to_unpack_it(tmp_path, name, place):
    archive = packed(tmp_path / "photos.zip")
    (tmp_path / "others.zip").touch()
    text = refusal(name, tmp_path / place)
    assert f"`unzip -q {archive} -d {tmp_path / 'photos'}`" in text
    assert "data.source.root" in text


@pytest.mark.parametrize("name", LISTS)
def test_listed_pictures_in_an_archive_say_how_to_unpack_it(tmp_path, name):
    archive = packed(tmp_path / "images.zip")
    (tmp_path / "list.txt").write_text("images/1.png 0\nimages/2.png 1\n")
    (tmp_path / "table.csv").write_text("file,label\n1.png,cat\n2.png,dog\n")
    pictures = [{"id": number, "file_name": f"{number}.png"} for number in (1, 2)]
    labels = [{"id": n, "image_id": n, "category_id": n} for n in (1, 2)]
    categories = [{"id": number, "name": f"class {number}"} for number in (1, 2)]
    coco = {"images": pictures, "annotations": labels, "categories": categories}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    assert f"`unzip -q {archive} -d {tmp_path / 'images'}`" in refusal(name, tmp_path)


def test_the_command_unpacks_and_the_source_reads(tmp_path):
    packed(tmp_path / "my photos.tar.zip")
    text = refusal("image_folder", tmp_path / "my photos.tar.zip")
    command = text.partition("`")[2].partition("`")[0].replace("unzip -q", "python3 -m zipfile -e")
    subprocess.run(command.replace(" -d ", " "), shell=True, check=True)
    folder = tmp_path / "my photos"
    source = open_source(Data(source={"name": "image_folder", "root": str(folder)}).source)
    assert [sample.path for sample in source.samples()] == ["cat/1.png"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2"])
def test_the_command_unpacks_an_archive(tmp_path, suffix):
    (tmp_path / "x").write_text("inside")
    kind = {"gz": "gz", "bz": "bz2", "xz": "xz"}.get(suffix.rstrip("2")[-2:], "")
    with tarfile.open(tmp_path / f"a b{suffix}", f"w:{kind}") as tar:
        tar.add(tmp_path / "x", "x")
    command = unpack_command(tmp_path / f"a b{suffix}", tmp_path / "a b")
    subprocess.run(command, shell=True, check=True)
    assert (tmp_path / "a b" / "x").read_text() == "inside"


@pytest.mark.parametrize("suffix", COMPRESSION)
def test_the_command_decompresses_a_file(tmp_path, suffix):
    packed = tmp_path / f"table.csv{suffix}"
    packed.write_bytes(COMPRESSION[suffix].compress(b"inside"))
    subprocess.run(unpack_command(packed, tmp_path / "table"), shell=True, check=True)
    assert (tmp_path / "table.csv").read_text() == "inside"


def test_another_file_has_no_command(tmp_path):
    assert unpack_command(tmp_path / "a.jpg", tmp_path / "a") is None
