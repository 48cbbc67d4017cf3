import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Image
from pydantic import ValidationError

from tailproof.config.data import Data
from tailproof.data import tables
from tailproof.data.prepare import prepare
from tailproof.data.sources.parquet import Parquet
from tailproof.runtime.errors import TailproofError
from tests.data.sources.parquet_files import (
    STRUCT,
    complaint,
    partitioned,
    png,
    source,
    structs,
    write,
)

FAULTS = {
    "nothing": (lambda root: None, {}, r".* no \.parquet file"),
    "no match": (
        lambda root: write(root / "x.parquet"),
        {"train": "train-*.parquet"},
        r"train-\*\.parquet.* no \.parquet file",
    ),
    "pools overlap": (
        lambda root: write(root / "x.parquet"),
        {"train": "*.parquet", "test": "x.parquet"},
        r"x\.parquet.* two pools.*data\.source\.train.*data\.source\.test",
    ),
    "split files": (
        lambda root: [write(root / f"data/{name}-0.parquet") for name in ("train", "test")],
        {},
        r".*data\.source\.train and data\.source\.test",
    ),
    "unlike folders": (
        lambda root: [write(root / name) for name in ("a=1/x.parquet", "b=1/x.parquet")],
        {},
        r"b=1/x\.parquet.*\['b'\].*a=1/x\.parquet.*\['a'\]",
    ),
    "no rows": (
        lambda root: write(root / "x.parquet", rows=0, label=pa.array([], pa.int64())),
        {},
        ": .* no rows?",
    ),
    "no image column": (
        lambda root: write(root / "x.parquet"),
        {"image": "img"},
        r"x\.parquet.*'img' \(did you mean 'image'\?\).*: image, label",
    ),
    "image type": (
        lambda root: write(root / "x.parquet", image=["a", "b", "c"]),
        {},
        r"x\.parquet.*'image'.* string, expected",
    ),
    "no label column": (
        lambda root: write(root / "x.parquet"),
        {"ranks": ["labels"]},
        r"x\.parquet.*'labels' \(did you mean 'label'\?\)",
    ),
    "label type": (
        lambda root: write(root / "x.parquet", label=[0.5, 1, 2]),
        {},
        r"x\.parquet, row 0.*'label'.* 0\.5, expected text or whole numbers",
    ),
    "unlike files": (
        lambda root: [
            write(root / "a.parquet"),
            write(root / "b.parquet", label=pa.array([1, 2, 3])),
        ],
        {},
        r"b\.parquet.*'label'.* whole numbers.* text .*a\.parquet",
    ),
    "a column less": (
        lambda root: [write(root / "a.parquet", x=[1, 2, 3]), write(root / "b.parquet")],
        {"ranks": ["x"]},
        r"b\.parquet.*'x'.*: image, label",
    ),
    "truncated": (
        lambda root: [write(root / "x.parquet"), os.truncate(root / "x.parquet", 600)],
        {},
        r"x\.parquet.*\(Parquet magic bytes not found in footer",
    ),
    "empty file": (
        lambda root: (root / "x.parquet").touch(),
        {},
        r"x\.parquet.*\(Parquet file size is 0 bytes\)",
    ),
    "null image": (
        lambda root: write(root / "x.parquet", image=structs(png(0), None, png(1))),
        {},
        r"x\.parquet, row 1.*'image'.* no image",
    ),
    "path only": (
        lambda root: write(
            root / "x.parquet",
            image=pa.array([{"bytes": None, "path": "a/b.png"}] * 3, STRUCT),
        ),
        {},
        r"x\.parquet, row 0.*'image'.* only the path 'a/b\.png'",
    ),
    "id twice": (
        lambda root: [
            write(root / "a.parquet", key=["x", "y", "z"]),
            write(root / "b.parquet", key=["u", "v", "y"]),
        ],
        {"id": "key"},
        r"b\.parquet, row 2.*'y'.*a\.parquet, row 1.*'key'",
    ),
    "no id": (
        lambda root: write(root / "x.parquet", key=["x", None, "z"]),
        {"id": "key"},
        r"x\.parquet, row 1.* no sample id.*'key'",
    ),
    "two parents": (
        lambda root: write(root / "x.parquet", genus=["g", "g", "h"]),
        {"ranks": ["genus", "label"]},
        r"x\.parquet, row 2.* label 'c0'.* genus 'h'.*'g'.*x\.parquet, row 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_dataset_is_told_in_one_sentence(tmp_path, fault):
    make, options, message = FAULTS[fault]
    make(tmp_path)
    found = complaint(tmp_path, **options).removeprefix(str(tmp_path))
    assert re.match(message, found)


def test_a_class_label_out_of_range_is_named(tmp_path):
    features = {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    named = pa.table({"image": structs(png(0), png(1)), "label": [1, 2]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(named.replace_schema_metadata(metadata), tmp_path / "x.parquet")
    message = complaint(tmp_path)
    assert re.match(r"x\.parquet, row 1.*'label'.* 2, expected 0 to 1.* -1 ", message)


def names(value) -> str:
    return json.dumps({"info": {"features": {"label": {"names": value}}}})


@pytest.mark.parametrize(
    "metadata",
    [
        "{",
        "[]",
        '{"info": 1}',
        '{"info": {"features": "x"}}',
        "[" * 100_000,
        b"\xff\xfe",
        *map(names, ["ab", 7, [1, 2], [["a"]], [None, "b"], {"a": 1}, ["a", "a"]]),
    ],
)
def test_metadata_that_name_no_classes_are_one_sentence(tmp_path, metadata):
    table = pa.table({"image": structs(png(0)), "label": [1]})
    table = table.replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, tmp_path / "x.parquet")
    assert complaint(tmp_path).startswith("x.parquet: the metadata 'huggingface' of its schema ")


@pytest.mark.parametrize("name", ["image", "label"])
def test_two_columns_of_one_name_are_named(tmp_path, name):
    columns = {"image": structs(png(0)), "label": pa.array(["a"])}
    arrays, header = [*columns.values(), columns[name]], [*columns, name]
    pq.write_table(pa.Table.from_arrays(arrays, header), tmp_path / "x.parquet")
    assert complaint(tmp_path).startswith(f"x.parquet has 2 columns with the name '{name}'")


def test_text_that_is_not_utf8_or_endless_is_named(tmp_path):
    damaged = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    for label, message in ((damaged, "UTF-8"), (pa.array(["x" * 10**6]), "1000000 characters")):
        pq.write_table(pa.table({"image": structs(png(0)), "label": label}), tmp_path / "x.parquet")
        assert message in complaint(tmp_path)


def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    rows = 5_000_000
    once = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["a"]))
    many = pa.table({"image": pa.nulls(rows, pa.binary()), "label": once.cast(pa.string())})
    pq.write_table(many, tmp_path / "x.parquet", row_group_size=rows)
    assert f"claims {rows} rows" in complaint(tmp_path)
    monkeypatch.setattr(tables, "LARGEST_COLUMN", 2**20)
    large = pa.table({"image": structs(bytes(20 * 2**20)), "label": ["a"]})
    pq.write_table(large, tmp_path / "x.parquet", compression="zstd")
    assert "'image.bytes' grows" in complaint(tmp_path)


def test_files_with_other_class_names_are_not_mixed(tmp_path):
    for name in ("a", "b"):
        features = Features(image=Image(), label=ClassLabel(names=[name, "z"]))
        rows = {"image": [{"bytes": png(0), "path": None}], "label": [0]}
        Dataset.from_dict(rows, features).to_parquet(tmp_path / f"{name}.parquet")
    assert re.match(r"b\.parquet.*'label'.* other class labels", complaint(tmp_path))


def test_a_missing_root_and_pools_of_a_single_file_are_told(tmp_path):
    with pytest.raises(TailproofError, match=r"nowhere does not exist.*data\.source\.root"):
        source(tmp_path / "nowhere").files()
    write(tmp_path / "x.parquet")
    with pytest.raises(TailproofError, match=r"x\.parquet is a file.*data\.source\.train"):
        source(tmp_path / "x.parquet", train="a", test="b").files()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "x"}, "'test' is given but 'train' is not"),
        ({"train": "../x"}, "'../x'"),
        ({"filter": {"year": 1.5}}, "valid string"),
        ({"ranks": ["path"]}, "'path'"),
    ],
)
def test_a_contradictory_configuration_is_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        Parquet(name="parquet", root="x", **options)


def test_what_is_gone_since_prepare_is_named(tmp_path):
    write(tmp_path / "x.parquet")
    opened = source(tmp_path)
    with pytest.raises(TailproofError, match=r"x\.parquet, row 3.* no longer"):
        opened.read("x.parquet", 3)
    with pytest.raises(TailproofError, match=r"y\.parquet does not exist"):
        opened.read("y.parquet", 0)


def test_a_damaged_page_is_named(tmp_path):
    write(tmp_path / "x.parquet", rows=1000, row_group_size=500)
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    content[1000:60000] = bytes(59000)
    (tmp_path / "x.parquet").write_bytes(content)
    assert complaint(tmp_path).startswith("x.parquet cannot be read as parquet (")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"filter": {"yaer": 2020}},
            r"data\.source\.filter names 'yaer'.*\(did you mean 'year'\?\).*: year, site",
        ),
        (
            {"filter": {"year": 2021}},
            r"data\.source\.filter asks for '2021' in 'year'.*: '2019', '2020'",
        ),
        (
            {"filter": {"year": ["2020", "202"], "site": "x"}},
            "data.source.filter asks for '202' in 'year'",
        ),
        ({"filter": {"year": []}}, "data.source.filter asks for no value in 'year'"),
        (
            {"filter": {"label": "a"}},
            "data.source.filter names 'label'.*: year, site",
        ),
    ],
)
def test_a_filter_that_cannot_match_is_told_before_a_file_is_opened(tmp_path, options, message):
    opened = source(partitioned(tmp_path), **options)
    with pytest.raises(TailproofError) as error:
        opened.files()
    assert re.match(f"{tmp_path}: {message}", str(error.value))


def test_a_filter_without_partitions_is_told(tmp_path):
    write(tmp_path / "x.parquet")
    message = complaint(tmp_path, filter={"label": "a"})
    assert message.endswith("; partition columns: none (there are no folders key=value)")


def test_many_values_are_cut_short(tmp_path):
    for number in range(30):
        (tmp_path / f"n={number:02d}").mkdir()
        (tmp_path / f"n={number:02d}/x.parquet").touch()
    with pytest.raises(TailproofError, match=r"'18', '19' and 10 more$"):
        source(tmp_path, filter={"n": 99}).files()


def test_an_image_that_does_not_decode_is_named_with_its_row(tmp_path):
    write(tmp_path / "raw/x.parquet", image=structs(png(0), b"GIF89a", png(1)))
    data = Data(source={"name": "parquet", "root": str(tmp_path / "raw")})
    with pytest.raises(TailproofError, match=r"x\.parquet, row 1: .*GIF"):
        prepare(data, tmp_path / "samples.parquet")
    assert not (tmp_path / "samples.parquet").exists()


@pytest.mark.parametrize("name", ["label", "c0"])
def test_names_and_labels_that_are_no_text_are_refused(tmp_path, name):
    write(tmp_path / "x.parquet")
    content = (tmp_path / "x.parquet").read_bytes()
    damaged = content.replace(name.encode(), b"\xc2" + name.encode()[1:])
    (tmp_path / "x.parquet").write_bytes(damaged)
    assert "x.parquet" in complaint(tmp_path)
