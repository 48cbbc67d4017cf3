import os
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tailproof.config.data import Data
from tailproof.data.images import encode_png
from tailproof.data.prepare import prepare
from tailproof.data.sources import Sample, open_source
from tailproof.data.sources.metadata_csv import MetadataCsv
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.loading.dataset import Split
from tailproof.runtime.errors import TailproofError
from tests.conftest import build_data

POOLS = ("train", "test")
HEADER = "filename,genus,species,observationID,habitat\n"
ROWS = """\
a.JPG,Amanita,Amanita muscaria,11,"forest, wet"
sub/b.png,Amanita,,11,NaN
c.png,NaN,Boletus edulis,,"a ""field\"""
d.png,Boletus,Boletus edulis,12,
"""


def write(root: Path, table: str | bytes = HEADER + ROWS, name: str = "labels.csv") -> None:
    for seed, image in enumerate(("a.JPG", "sub/b.png", "c.png", "d.png", "unlisted.png")):
        file = root / "photos" / image
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (3, 4), dtype=np.uint8)
        file.write_bytes(encode_png(pixels))
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(table if isinstance(table, bytes) else table.encode())


def config(root: Path, **options) -> MetadataCsv:
    given = {"table": "labels.csv", "images": "photos", "ranks": ["genus", "species"], **options}
    return MetadataCsv(name="metadata_csv", root=str(root), **given)


def complaint(root: Path, table: str | bytes, **options) -> str:
    """What is said of a table, without the folder that all paths begin with."""
    write(root, table)
    with pytest.raises(TailproofError) as error:
        list(open_source(config(root, **options)).samples())
    text = str(error.value)
    assert "\n" not in text
    return text.replace(f"{root}/", "")


def test_rows_are_samples_and_empty_cells_no_labels(tmp_path):
    write(tmp_path)
    source = open_source(config(tmp_path))
    fly = {"genus": "Amanita", "species": "Amanita muscaria"}
    cep = {"genus": None, "species": "Boletus edulis"}
    assert list(source.samples()) == [
        Sample("photos/a.JPG", fly, "photos/a.JPG", group="11"),
        Sample("photos/sub/b.png", {**fly, "species": None}, "photos/sub/b.png", group="11"),
        Sample("photos/c.png", cep, "photos/c.png"),
        Sample("photos/d.png", {**cep, "genus": "Boletus"}, "photos/d.png", group="12"),
    ]
    assert len(source) == 4
    assert source.classes == {
        "genus": ["Amanita", "Boletus"],
        "species": ["Amanita muscaria", "Boletus edulis"],
    }
    assert source.files() == [tmp_path / "labels.csv"]
    assert source.read("photos/d.png", None) == (tmp_path / "photos/d.png").read_bytes()


def test_images_lie_beside_the_table_by_default_and_names_are_made_plain(tmp_path):
    write(tmp_path, "\ufefffilename,genus\r\n./photos//a.JPG,x\r\n\r\nphotos/c.png,y\r\n")
    source = open_source(config(tmp_path, images=None, ranks=["genus"], group=None))
    assert [sample.path for sample in source.samples()] == ["photos/a.JPG", "photos/c.png"]
    assert [sample.group for sample in source.samples()] == [None, None]


def test_tables_of_train_and_test_are_the_pools(tmp_path):
    write(tmp_path, HEADER + "c.png,G,s,1,\n", "meta/Train.csv")
    write(tmp_path, HEADER + "b.png,G,s,1,\n", "meta/Test.csv")
    source = open_source(
        config(
            tmp_path,
            table=None,
            images=None,
            train={"table": "meta/Train.csv", "images": "photos"},
            test={"table": "meta/Test.csv", "images": "photos/sub"},
        )
    )
    assert [(sample.sample_id, sample.pool) for sample in source.samples()] == [
        ("photos/c.png", "train"),
        ("photos/sub/b.png", "held_out"),
    ]
    assert source.files() == [tmp_path / "meta/Train.csv", tmp_path / "meta/Test.csv"]


def test_an_image_in_both_pools_is_an_error(tmp_path):
    for name in ("Train.csv", "Test.csv"):
        write(tmp_path, HEADER + "c.png,G,s,1,\n", name)
    pools = {name: {"table": f"{name.title()}.csv", "images": "photos"} for name in POOLS}
    with pytest.raises(TailproofError) as error:
        len(open_source(config(tmp_path, table=None, images=None, **pools)))
    assert re.match(
        f"{tmp_path}/Test.csv, line 2.* 'c.png'.*{tmp_path}/Train.csv, line 2", str(error.value)
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "labels.csv is empty"),
        (HEADER, "labels.csv.* no row"),
        ("filename;genus\na.JPG;x\n", "labels.csv.*'species'.*: filename, genus"),
        (
            HEADER.replace("species", "specie"),
            r"labels.csv.*'species' \(did you mean 'specie'\?\).*: filename, genus",
        ),
        (HEADER.replace("habitat", "genus"), "labels.csv.* 2 columns.*'genus'"),
        (
            HEADER + "a.JPG,G,s,1,\nc.png,G,s\n",
            "labels.csv, line 3.* 3 .* 5",
        ),
        (
            HEADER + 'a.JPG,G,s,1,"two\nlines"\nc.png,G,s,2,"cut\nhere\n',
            r"labels.csv, line 4.*\(unexpected end of data\)",
        ),
        (HEADER + 'a.JPG,"G"x,s,1,\n', r"labels.csv, line 2.*\(',' expected after '"),
        (
            (HEADER + "a.JPG,G,s,1,\nc.png,Bolét,s,2,\n").encode("latin-1"),
            "labels.csv, line 3 .*UTF-8",
        ),
        (HEADER + "a.JPG\n", "labels.csv, line 2 .* 1 cell, .* 5"),
        ("# a comment\n" * 60 + HEADER, "labels.csv has no header in its first 50 lines"),
        ("a.JPG\tG\ts\n", "labels.csv has no header.* filename\tgenus\tspecies\tobservationID$"),
        (HEADER.encode("utf-16"), "labels.csv has no row"),
        (HEADER.encode("utf-16") + b"x", "labels.csv is not utf-16 text: save"),
        (HEADER.encode("utf-16-le"), "labels.csv .*UTF-16"),
        (b"PK\x03\x04\x14\x00\xff", "labels.csv is .*zip"),
        (
            HEADER + "a.JPG,G,s,1,\nsub/b.png,G,s,1,\n./a.JPG,G,s,3,\n",
            r"labels.csv, line 4.*'\./a\.JPG'.*labels.csv, line 2",
        ),
        (HEADER + "a.JPG,G,s,1,\n ,G,s,1,\n", "labels.csv, line 3 .*'filename'"),
        (
            HEADER + "../labels.csv,G,s,1,\n",
            r"labels.csv, line 2.*'\.\./labels\.csv'",
        ),
        (HEADER + "sub/../a.JPG,G,s,1,\n", r"labels.csv, line 2.*'sub/\.\./a\.JPG'"),
        (HEADER + "/etc/passwd,G,s,1,\n", "labels.csv, line 2.*'/etc/passwd'"),
        (
            HEADER + "a.JPG,G,s,1,\ne.png,G,s,1,\nno/f.png,G,s,1,\nc.png,G,s,1,\n",
            r"labels.csv, line 3.*photos/e\.png.*2 of 4",
        ),
        (
            HEADER + "a.JPG,G,s,1,\nc.png,,t,1,\nd.png,H,s,2,\n",
            "labels.csv, line 4.* species 's'.* genus 'H'.*'G'.*labels.csv, line 2",
        ),
        (HEADER + "a.JPG,,s,1,\n", "labels.csv.* no sample has a label .*'genus'"),
    ],
)
def test_a_wrong_table_is_told_in_one_sentence(tmp_path, table, message):
    assert re.match(message, complaint(tmp_path, table))


def test_a_missing_group_column_asks_for_a_decision(tmp_path):
    found = complaint(tmp_path, "filename,genus,species\na.JPG,G,s\n")
    assert re.match(r"labels\.csv.*'observationID'.*: filename, genus, species.* group", found)


def test_a_table_without_a_box_has_rows_but_no_box(tmp_path):
    table = "filename,genus,species,x,y,w,h\na.JPG,G,s,,,,\n"
    found = complaint(tmp_path, table, group=None, box=["x", "y", "w", "h"])
    assert re.match(r"labels\.csv has no box in any row: .*data\.source\.box", found)


@pytest.mark.parametrize(
    ("table", "reason"), [("nowhere.csv", "does not exist"), (".", "is a folder")]
)
def test_a_table_that_cannot_be_opened_is_named(tmp_path, table, reason):
    source = open_source(config(tmp_path, table=table))
    with pytest.raises(TailproofError, match=f"^{tmp_path / table} {reason}"):
        len(source)


def test_a_missing_folder_of_images_is_told_by_its_images(tmp_path):
    message = complaint(tmp_path, HEADER + "a.JPG,G,s,1,\n", images="labels.csv")
    assert re.match("labels.csv, line 2.*labels.csv/a.JPG.*1 of 1", message)


def test_an_image_that_goes_away_or_is_a_folder_is_named(tmp_path):
    write(tmp_path)
    source = open_source(config(tmp_path))
    (tmp_path / "photos/d.png").unlink()
    with pytest.raises(TailproofError, match=r"photos/d\.png does not exist"):
        source.read("photos/d.png", None)
    with pytest.raises(TailproofError, match=r"photos/sub is a folder"):
        source.read("photos/sub", None)


def test_an_image_that_does_not_decode_is_named_and_nothing_is_left(tmp_path):
    write(tmp_path)
    (tmp_path / "photos/c.png").write_bytes(encode_png(np.eye(40, dtype=np.uint8))[:60])
    with pytest.raises(TailproofError, match=r"/photos/c\.png: "):
        prepare(Data(source=config(tmp_path)), tmp_path / "out" / "samples.parquet")
    assert not (tmp_path / "out/samples.parquet").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": None, "images": None}, "give 'table'"),
        ({"table": None}, "give 'table'"),
        ({"train": {"table": "a", "images": "b"}}, "give 'table'"),
        ({"table": None, "images": None, "train": {"table": "a", "images": "b"}}, "both 'train'"),
        ({"table": "../a.csv"}, "'../a.csv'"),
        ({"images": "/photos"}, "'/photos'"),
        ({"ranks": ["genus", "genus"]}, "'genus' is .* twice"),
        ({"ranks": ["weight"]}, "'weight'"),
        ({"ranks": []}, "at least 1 item"),
    ],
)
def test_a_contradictory_configuration_is_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        config(Path("x"), **options)


def many(root: Path, images: int) -> Data:
    """A collection of two genera and four species; a fifth of the rows lacks each label."""
    (root / "photos").mkdir(parents=True)
    lines = [HEADER]
    for number in range(images):
        pixels = np.full((2, 2), number // 2, np.uint8)
        pixels[0, 0] = number % 251
        (root / f"photos/{number}.png").write_bytes(encode_png(pixels))
        species = "" if number % 5 == 0 else f"s{number % 4}"
        genus = "" if number % 5 == 1 else f"g{number % 4 // 2}"
        lines.append(f"{number}.png,{genus},{species},{number // 3},\n")
    (root / "labels.csv").write_text("".join(lines))
    return Data(source=config(root))


def test_missing_labels_reach_the_loader_as_minus_one(tmp_path):
    manifest = build_data(many(tmp_path / "raw", 400), tmp_path / "out")
    samples = read_parquet(tmp_path / "out/samples.parquet")
    assert (samples["genus"].null_count, samples["species"].null_count) == (80, 80)
    assert table_metadata(tmp_path / "out/samples.parquet")["classes"]["genus"] == ["g0", "g1"]
    train = Split(manifest, "train")
    assert train.manifest["target"] == "species"
    assert set(train.labels["species"]) == {0, 1, 2, 3}
    assert set(train.labels["genus"]) == {-1, 0, 1}
    rows = samples.to_pandas().set_index("sample_id").loc[train.sample_ids]
    assert (rows["genus"].isna() == (train.labels["genus"] == -1)).all()
    known = rows["genus"].notna().to_numpy()
    assert [f"g{code}" for code in train.labels["genus"][known]] == rows["genus"][known].tolist()


def test_two_runs_in_two_places_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        data = many(tmp_path / name / "raw", 30)
        if name == "two":
            os.utime(tmp_path / name / "raw/labels.csv", (0, 0))
        prepare(data, tmp_path / name / "samples.parquet")
    one, two = ((tmp_path / name / "samples.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


def test_any_column_can_be_the_target(tmp_path):
    write(tmp_path, "filename,category_id\na.JPG,10\nc.png,9\nd.png,\n")
    source = open_source(config(tmp_path, ranks=["category_id"], group=None))
    assert source.classes == {"category_id": ["9", "10"]}
    assert [sample.labels["category_id"] for sample in source.samples()] == ["10", "9", None]
