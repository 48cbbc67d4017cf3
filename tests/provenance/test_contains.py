"""Which images were in which split: asked of an experiment's tables and ledger."""

import csv
import io
import json
import shutil
from contextlib import chdir
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tailproof.config.data import Data
from tailproof.data.fingerprint_table import Fingerprints, write_fingerprints
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import list_raw
from tailproof.data.splits import split
from tailproof.data.tables import read_parquet
from tailproof.digests import sha256_file
from tailproof.files import write_json
from tailproof.provenance.ancestors import image_tables
from tailproof.provenance.attestation_files import FINGERPRINTS, STATEMENT
from tailproof.provenance.contains import FOUND, UNREAD, contains
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import read_ledger
from tailproof.runtime.recorder import described
from tailproof.runtime.records import Code, Machine, Record
from tailproof.terminal import Console
from tests.data.test_near_duplicates import crop, photograph

COUNT = 60
RESULTS = Path("results/birds")


def write_record(rule: str, inputs: list[str], outputs: list[str]) -> None:
    """Write the record of a job that read and wrote files of the experiment."""
    digest = "0" * 64
    record = Record(
        experiment="birds",
        rule=rule,
        name=rule,
        wildcards={},
        inputs=described([f"{RESULTS}/{name}" for name in inputs]),
        undeclared=[],
        outputs=described([f"{RESULTS}/{name}" for name in outputs]),
        parameters={},
        running={},
        seeds=[],
        code=Code(
            version="0", closure=digest, runtime=digest, commit=None, dirty=False,
            difference=None, packages={}, python="3",
        ),
        machine=Machine(
            host="h", user="u", slurm_job=None, device="d", threads=1, peak_memory_bytes=1
        ),
        started=datetime.now(UTC),
        ended=datetime.now(UTC),
        command="snakemake",
        log="x.log",
    )  # fmt: skip
    record.write(record.path)


@pytest.fixture(scope="module")
def birds(tmp_path_factory) -> Path:
    """A project whose 60 photographs are in splits, one of them twice."""
    folder = tmp_path_factory.mktemp("birds")
    rng = np.random.default_rng(3)
    for number in range(COUNT):
        path = folder / "photos" / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(rng)).save(path)
    shutil.copy(folder / "photos/a/0.png", folder / "photos/a/copy.png")
    with chdir(folder):
        data = Data(source={"name": "image_folder", "root": "photos"})
        source = prepare(data, RESULTS / "samples.parquet")
        list_raw(data, RESULTS / "samples.parquet", RESULTS / "raw.parquet", source)
        split(
            RESULTS / "samples.parquet", data, RESULTS / "splits.parquet", RESULTS / "splits.json"
        )
        thumbnails = "near_duplicates/thumbnails.parquet"
        write_record("prepare", [], ["samples.parquet", "raw.parquet", thumbnails])
        write_record("split", ["samples.parquet"], ["splits.parquet", "splits.json"])
    return folder


@pytest.fixture
def here(birds, monkeypatch) -> Path:
    monkeypatch.chdir(birds)
    return birds


def split_of(folder: Path, name: str) -> str:
    """The split of a photograph, from the tables themselves."""
    samples = read_parquet(folder / RESULTS / "samples.parquet").to_pylist()
    wanted = {row["sample_id"] for row in samples if row["path"] == name}
    splits = read_parquet(folder / RESULTS / "splits.parquet").to_pylist()
    return next(row["split"] for row in splits if row["sample_id"] in wanted)


def ask(capsys, expert: str, *places: Path) -> tuple[int, list[dict[str, str]]]:
    """Return the exit status and the rows of the CSV table."""
    status = contains(expert, list(map(str, places)), as_csv=True, console=Console())
    return status, list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def open_photo(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / "photos" / name))


def save(pixels: np.ndarray, path: Path, **options) -> Path:
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)
    return path


def test_a_file_its_pixels_and_its_copies_are_known_with_their_split(here, tmp_path, capsys):
    rng = np.random.default_rng(0)
    pixels = open_photo(here, "b/1.png")
    own = here / "photos/b/1.png"
    asked = {
        "file": [own, shutil.copy(own, tmp_path / "x.png")],
        "pixels": [save(pixels, tmp_path / "y.bmp"), save(pixels, tmp_path / "z.tiff")],
        "near duplicate": [
            save(pixels, tmp_path / "compressed.jpg", quality=40),
            save(pixels[:, ::-1], tmp_path / "mirrored.png"),
            save(crop(pixels, rng, 0.95), tmp_path / "cropped.png"),
            save(np.asarray(Image.fromarray(pixels).resize((60, 60))), tmp_path / "small.png"),
            save(np.kron(pixels, np.ones((2, 2, 1), np.uint8)), tmp_path / "large.png"),
        ],
    }  # fmt: skip
    for answer, files in asked.items():
        status, rows = ask(capsys, "birds", *map(Path, files))
        assert status == FOUND
        assert [row["answer"] for row in rows] == [answer] * len(files)
        assert {row["path"] for row in rows} == {"b/1.png"}
        assert {row["split"] for row in rows} == {split_of(here, "b/1.png")}
    assert [row["mirrored"] for row in rows] == ["no", "yes", "no", "no", "no"]
    assert float(rows[2]["scale"]) < 1


def test_all_images_of_the_collection_are_in_their_splits(here, capsys):
    status, rows = ask(capsys, "birds", Path("photos"))
    assert status == FOUND
    by_file = {}
    for row in rows:
        by_file.setdefault(row["file"], []).append(row)
    assert len(by_file) == COUNT + 1
    for name, own in by_file.items():
        place = name.removeprefix("photos/")
        if place not in ("a/0.png", "a/copy.png"):
            assert [(row["answer"], row["split"]) for row in own] == [
                ("file", split_of(here, place))
            ]
    # Of two equal files, one is in a split and the other in none.
    both = {(row["answer"], row["split"] == "none") for row in by_file["photos/a/0.png"]}
    assert both == {("file", False), ("file", True)}


def test_strangers_are_in_no_split(here, tmp_path, capsys):
    rng = np.random.default_rng(9)
    files = [save(photograph(rng), tmp_path / f"{number}.png") for number in range(20)]
    flat = save(np.full((40, 40), 7, np.uint8), tmp_path / "flat.png")
    status, rows = ask(capsys, "birds", *files, flat)
    assert status == 0
    assert [row["answer"] for row in rows] == ["no"] * 21


def test_what_cannot_be_read_is_a_row_and_a_status_of_its_own(here, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"x")
    stranger = save(photograph(np.random.default_rng(8)), tmp_path / "other.png")
    status, rows = ask(capsys, "birds", broken, stranger)
    assert status == UNREAD
    assert [row["answer"] for row in rows] == ["unreadable", "no"]
    status, rows = ask(capsys, "birds", broken)
    assert status == UNREAD and len(rows) == 1
    status, rows = ask(capsys, "birds", broken, Path("photos/b/1.png"))
    assert status == FOUND


def test_tables_that_are_not_on_record_are_refused(birds, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(birds, tmp_path / "project"))
    monkeypatch.chdir(folder)
    with (folder / RESULTS / "splits.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(TailproofError, match=r"splits\.parquet"):
        contains("birds", ["photos"], as_csv=True, console=Console())


@pytest.mark.parametrize("expert", ["bird", "photos", "results/birds/experts/none/seed-0", ".", ""])
def test_what_is_no_expert_is_refused(here, expert):
    with pytest.raises(TailproofError) as error:
        contains(expert, ["photos"], as_csv=True, console=Console())
    assert "\n" not in str(error.value)


@pytest.fixture
def published(here, tmp_path) -> Path:
    """A folder with the fingerprints of all images, and the part of a statement that names them."""
    folder = tmp_path / "downloaded"
    write_fingerprints(image_tables(read_ledger("birds")), folder / FINGERPRINTS)
    digest = {"sha256": sha256_file(folder / FINGERPRINTS)}
    details = {"byproducts": [{"name": "fingerprints", "digest": digest}]}
    write_json(folder / STATEMENT, {"predicate": {"runDetails": details}})
    return folder


def test_fingerprints_leave_out_unknown_pictures(here, tmp_path):
    """They are in splits of their own, which no expert learnt."""
    (tables,) = image_tables(read_ledger("birds"))
    splits = read_parquet(tables.splits)
    names = splits["split"].to_pylist()
    names[0] = "unknown_test"
    place = splits.column_names.index("split")
    other = splits.set_column(place, "split", pa.array(names))
    pq.write_table(other, tmp_path / "splits.parquet")
    write_fingerprints(
        [replace(tables, splits=tmp_path / "splits.parquet")], tmp_path / "f.parquet"
    )
    assert len(Fingerprints.read(tmp_path / "f.parquet").splits) == len(names) - 1


def test_fingerprints_answer_without_names(here, published, tmp_path, capsys):
    pixels = open_photo(here, "c/2.png")
    files = [
        save(pixels, tmp_path / "same.bmp"),
        save(pixels, tmp_path / "compressed.jpg", quality=40),
        save(pixels[:, ::-1], tmp_path / "mirrored.png"),
        save(photograph(np.random.default_rng(11)), tmp_path / "other.png"),
    ]
    status, rows = ask(capsys, str(published), *files)
    assert status == FOUND
    known = ["pixels", "near duplicate", "near duplicate", "no"]
    assert [row["answer"] for row in rows] == known
    assert {row["split"] for row in rows[:3]} == {split_of(here, "c/2.png")}
    assert {row["sample_id"] + row["path"] for row in rows} == {""}


def test_fingerprints_hold_splits_and_nothing_else(here, published):
    table = read_parquet(published / FINGERPRINTS)
    assert table.column_names == ["digest", "hash", "experiment", "split"]
    assert len(table) == len(read_parquet(RESULTS / "splits.parquet"))
    assert table["digest"].to_pylist() == sorted(table["digest"].to_pylist())
    known = Fingerprints.read(published / FINGERPRINTS)
    assert known.max_distance >= 0
    data = (published / FINGERPRINTS).read_bytes()
    assert b"photos" not in data and b"sample-" not in data and b".png" not in data


def test_other_fingerprints_than_those_of_the_statement_are_refused(published):
    statement = json.loads((published / STATEMENT).read_text())
    statement["predicate"]["runDetails"]["byproducts"][0]["digest"]["sha256"] = "0" * 64
    write_json(published / STATEMENT, statement)
    with pytest.raises(TailproofError, match="fingerprints"):
        contains(str(published), ["photos"], as_csv=True, console=Console())
