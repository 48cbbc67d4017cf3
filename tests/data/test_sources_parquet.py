import errno
import json
import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tailproof.core.config.data import Data, Parquet
from tailproof.core.errors import TailproofError
from tailproof.core.files import read_parquet, table_metadata
from tailproof.data.images import decode, encode_png
from tailproof.data.prepare import prepare
from tailproof.data.sources import Sample, open_source
from tailproof.data.sources import parquet as module
from tailproof.data.sources.parquet import ParquetSource
from tests.conftest import build_data

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(seed: int) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (3, 4), dtype=np.uint8))


def structs(*cells) -> pa.Array:
    return pa.array([cell and {"bytes": cell, "path": None} for cell in cells], STRUCT)


def write(file: Path, rows: int = 3, row_group_size: int = 2, first: int = 0, **columns) -> None:
    """Write a file of images first, first + 1, … ; columns as they are given."""
    images = columns.pop("image", structs(*[png(seed) for seed in range(first, first + rows)]))
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {"label": [f"c{row % 2}" for row in range(rows)], **columns}
    pq.write_table(pa.table({"image": images, **columns}), file, row_group_size=row_group_size)


def source(root: Path, **options) -> ParquetSource:
    return open_source(Parquet(name="parquet", root=str(root), **options))


def complaint(root: Path, **options) -> str:
    """What is said of a dataset, without the folder that all paths begin with."""
    with pytest.raises(TailproofError) as error:
        opened = source(root, **options)
        [opened.read(sample.path, sample.row) for sample in opened.samples()]
    text = str(error.value)
    assert "\n" not in text
    return text.replace(f"{root}/", "")


@pytest.mark.parametrize("kind", [STRUCT, pa.binary(), pa.large_binary()])
def test_rows_of_one_file_are_samples(tmp_path, kind):
    images = [png(seed) for seed in range(3)]
    cells = [{"bytes": image, "path": "x.png"} for image in images] if kind == STRUCT else images
    write(tmp_path / "x.parquet", image=pa.array(cells, kind), label=["b", "", "a"])
    opened = source(tmp_path / "x.parquet")
    assert opened.root == tmp_path
    assert opened.files() == [tmp_path / "x.parquet"]
    assert list(opened.samples()) == [
        Sample("x.parquet:0", {"label": "b"}, "x.parquet", 0),
        Sample("x.parquet:1", {"label": None}, "x.parquet", 1),
        Sample("x.parquet:2", {"label": "a"}, "x.parquet", 2),
    ]
    assert len(opened) == 3
    assert opened.classes == {"label": ["a", "b"]}
    assert [opened.read(sample.path, sample.row) for sample in opened.samples()] == images


def test_a_folder_is_read_at_any_depth_and_hidden_files_passed_over(tmp_path):
    for name in ("b/2.parquet", "a.parquet", "_metadata.parquet", ".x/1.parquet", "_tmp/1.parquet"):
        write(tmp_path / name)
    (tmp_path / "README.md").touch()
    (tmp_path / "c.parquet").symlink_to(tmp_path / "b/2.parquet")
    opened = source(tmp_path)
    assert opened.files() == [tmp_path / name for name in ("a.parquet", "b/2.parquet", "c.parquet")]
    assert [sample.path for sample in opened.samples()][::3] == [
        "a.parquet",
        "b/2.parquet",
        "c.parquet",
    ]


def test_hugging_face_datasets_come_with_their_class_names_in_order(tmp_path):
    features = Features(
        image=Image(), label=ClassLabel(names=["owl", "cat", "bee", "ant"]), who=Value("int32")
    )
    rows = {"label": [1, 0, -1, 3], "who": [7, 7, 10, None]}
    images = [{"bytes": png(seed), "path": None} for seed in range(4)]
    Dataset.from_dict({"image": images, **rows}, features).to_parquet(tmp_path / "x.parquet")
    opened = source(tmp_path, ranks=["who", "label"], group="who")
    assert [sample.labels["label"] for sample in opened.samples()] == ["cat", "owl", None, "ant"]
    assert [sample.group for sample in opened.samples()] == ["7", "7", "10", None]
    assert opened.classes == {"who": ["7", "10"], "label": ["owl", "cat", "ant"]}
    assert opened.read("x.parquet", 3) == png(3)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (pa.array([10, 9, None], pa.int8()), ["10", "9", None]),
        (pa.array([10, 2**40, -3]), ["10", str(2**40), "-3"]),
        (pa.array(["x", None, " y "]).dictionary_encode(), ["x", None, "y"]),
        (pa.array(["x", "nan", ""], pa.large_string()), ["x", None, None]),
    ],
)
def test_labels_are_text_or_whole_numbers(tmp_path, values, labels):
    write(tmp_path / "x.parquet", label=values)
    opened = source(tmp_path)
    assert [sample.labels["label"] for sample in opened.samples()] == labels


def test_a_file_may_have_no_label_at_all(tmp_path):
    write(tmp_path / "a.parquet", label=[None] * 3)
    write(tmp_path / "b.parquet", label=[7, 8, 9])
    opened = source(tmp_path)
    labels = [sample.labels["label"] for sample in opened.samples()]
    assert labels == [None, None, None, "7", "8", "9"]
    assert opened.classes == {"label": ["7", "8", "9"]}


def test_a_column_of_ids_names_the_samples(tmp_path):
    write(tmp_path / "x.parquet", key=[5, 3, 4])
    opened = source(tmp_path, id="key")
    assert [sample.sample_id for sample in opened.samples()] == ["5", "3", "4"]


def partitioned(root: Path) -> Path:
    for year in ("2019", "2020"):
        for site in ("north sea", "__HIVE_DEFAULT_PARTITION__"):
            folder = root / f"year={year}" / f"site={site.replace(' ', '%20')}"
            write(folder / "part-0.parquet", rows=2, label=["a", "b"])
    return root


def test_partition_columns_are_labels_groups_and_filters(tmp_path):
    partitioned(tmp_path)
    opened = source(tmp_path, ranks=["site", "label"], group="year", filter={"year": 2020})
    assert opened.files() == [
        tmp_path / "year=2020/site=__HIVE_DEFAULT_PARTITION__/part-0.parquet",
        tmp_path / "year=2020/site=north%20sea/part-0.parquet",
    ]
    assert [(*sample.labels.values(), sample.group) for sample in opened.samples()] == [
        (None, "a", "2020"),
        (None, "b", "2020"),
        ("north sea", "a", "2020"),
        ("north sea", "b", "2020"),
    ]
    both = source(tmp_path, filter={"year": ["2019", 2020], "site": "north sea"})
    assert len(both) == 4
    assert source(tmp_path, ranks=["site"]).classes == {"site": ["north sea"]}


def test_what_pandas_partitions_is_read(tmp_path):
    frame = structs(*[png(seed) for seed in range(4)])
    table = pa.table({"image": frame, "label": list("abab"), "subset": list("xxyy")})
    pq.write_to_dataset(table, tmp_path, partition_cols=["subset"])
    opened = source(tmp_path, ranks=["label"], group="subset")
    assert [sample.group for sample in opened.samples()] == ["x", "x", "y", "y"]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("data/train-*.parquet", "data/test-*.parquet"),
        ("subset=train", "subset=test"),
        ("one.parquet", "two.parquet"),
    ],
)
def test_files_folders_and_patterns_are_the_pools(tmp_path, train, test):
    for name in ("data/train-0.parquet", "subset=train/x.parquet", "one.parquet"):
        write(tmp_path / name, rows=2)
    for name in ("data/test-0.parquet", "subset=test/x.parquet", "two.parquet"):
        write(tmp_path / name, rows=1)
    opened = source(tmp_path, train=train, test=test)
    pools = [sample.pool for sample in opened.samples()]
    assert pools == ["train", "train", "held_out"]
    assert {sample.pool for sample in source(tmp_path, train=train).samples()} == {None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"filter": {"yaer": 2020}},
            "data.source.filter names 'yaer', which is no partition column (did you mean 'year'?); "
            "partition columns: year, site",
        ),
        (
            {"filter": {"year": 2021}},
            "data.source.filter asks for '2021' in 'year', which matches nothing; its values: "
            "'2019', '2020'",
        ),
        (
            {"filter": {"year": ["2020", "202"], "site": "x"}},
            "data.source.filter asks for '202' in 'year'",
        ),
        ({"filter": {"year": []}}, "data.source.filter asks for no value in 'year'"),
        (
            {"filter": {"label": "a"}},
            "data.source.filter names 'label', which is no partition column; partition columns: y",
        ),
    ],
)
def test_a_filter_that_cannot_match_is_told_before_a_file_is_opened(tmp_path, options, message):
    opened = source(partitioned(tmp_path), **options)
    with pytest.raises(TailproofError) as error:
        opened.files()
    assert str(error.value).startswith(f"{tmp_path}: {message}")


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


FAULTS = {
    "nothing": (lambda root: None, {}, ": no .parquet file there; correct data.source"),
    "no match": (
        lambda root: write(root / "x.parquet"),
        {"train": "train-*.parquet"},
        "train-*.parquet: no .parquet file there",
    ),
    "pools overlap": (
        lambda root: write(root / "x.parquet"),
        {"train": "*.parquet", "test": "x.parquet"},
        "x.parquet is in both pools: data.source.train and data.source.test must not overlap",
    ),
    "split files": (
        lambda root: [write(root / f"data/{name}-0.parquet") for name in ("train", "test")],
        {},
        " holds files of a training and of another set: set data.source.train and data.source.test",
    ),
    "unlike folders": (
        lambda root: [write(root / name) for name in ("a=1/x.parquet", "b=1/x.parquet")],
        {},
        "b=1/x.parquet has the partition columns ['b'], a=1/x.parquet has ['a']; name one dataset",
    ),
    "no rows": (
        lambda root: write(root / "x.parquet", rows=0, label=pa.array([], pa.int64())),
        {},
        ": its parquet files hold no row",
    ),
    "no image column": (
        lambda root: write(root / "x.parquet"),
        {"image": "img"},
        "x.parquet has no column 'img' (did you mean 'image'?); it has: image, label",
    ),
    "image type": (
        lambda root: write(root / "x.parquet", image=["a", "b", "c"]),
        {},
        "x.parquet: its column 'image' has type string, expected encoded images: binary, or a str",
    ),
    "no label column": (
        lambda root: write(root / "x.parquet"),
        {"ranks": ["labels"]},
        "x.parquet has no column 'labels' (did you mean 'label'?)",
    ),
    "label type": (
        lambda root: write(root / "x.parquet", label=[0.5, 1, 2]),
        {},
        "x.parquet: its column 'label' has type double, expected text or whole numbers",
    ),
    "unlike files": (
        lambda root: [
            write(root / "a.parquet"),
            write(root / "b.parquet", label=pa.array([1, 2, 3])),
        ],
        {},
        "b.parquet: its column 'label' holds whole numbers, but text in a.parquet; write both",
    ),
    "a column less": (
        lambda root: [write(root / "a.parquet", x=[1, 2, 3]), write(root / "b.parquet")],
        {"ranks": ["x"]},
        "b.parquet has no column 'x'; it has: image, label",
    ),
    "truncated": (
        lambda root: [write(root / "x.parquet"), os.truncate(root / "x.parquet", 600)],
        {},
        "x.parquet cannot be read as parquet (Parquet magic bytes not found in footer",
    ),
    "empty file": (
        lambda root: (root / "x.parquet").touch(),
        {},
        "x.parquet cannot be read as parquet (Parquet file size is 0 bytes); fetch it again",
    ),
    "null image": (
        lambda root: write(root / "x.parquet", image=structs(png(0), None, png(1))),
        {},
        "x.parquet, row 1: its column 'image' holds no image; save the dataset with the images",
    ),
    "path only": (
        lambda root: write(
            root / "x.parquet",
            image=pa.array([{"bytes": None, "path": "a/b.png"}] * 3, STRUCT),
        ),
        {},
        "x.parquet, row 0: its column 'image' holds only the path 'a/b.png' of an image; save",
    ),
    "id twice": (
        lambda root: [
            write(root / "a.parquet", key=["x", "y", "z"]),
            write(root / "b.parquet", key=["u", "v", "y"]),
        ],
        {"id": "key"},
        "b.parquet, row 2: the sample id 'y' stands a second time, first in a.parquet, row 1; make",
    ),
    "no id": (
        lambda root: write(root / "x.parquet", key=["x", None, "z"]),
        {"id": "key"},
        "x.parquet, row 1: its column 'key' holds no sample id; fill it in, or leave",
    ),
    "two parents": (
        lambda root: write(root / "x.parquet", genus=["g", "g", "h"]),
        {"ranks": ["genus", "label"]},
        "x.parquet, row 2: the label 'c0' lies in the genus 'h', but in 'g' in x.parquet, row 0;",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_dataset_is_told_in_one_sentence(tmp_path, fault):
    make, options, message = FAULTS[fault]
    make(tmp_path)
    found = complaint(tmp_path, **options).removeprefix(str(tmp_path))
    assert found.startswith(message)


def test_a_class_label_out_of_range_is_named(tmp_path):
    features = {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    named = pa.table({"image": structs(png(0), png(1)), "label": [1, 2]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(named.replace_schema_metadata(metadata), tmp_path / "x.parquet")
    assert complaint(tmp_path) == (
        "x.parquet, row 1: its column 'label' holds 2, expected 0 to 1, the classes that its "
        "schema names, or -1 for none"
    )


@pytest.mark.parametrize("metadata", ["{", "[]", '{"info": 1}'])
def test_metadata_that_is_no_mapping_is_named(tmp_path, metadata):
    table = pa.table({"image": structs(png(0)), "label": [1]})
    table = table.replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, tmp_path / "x.parquet")
    assert complaint(tmp_path).startswith("x.parquet: the metadata 'huggingface' of its schema is")


def test_files_with_other_class_names_are_not_mixed(tmp_path):
    for name in ("a", "b"):
        features = Features(image=Image(), label=ClassLabel(names=[name, "z"]))
        rows = {"image": [{"bytes": png(0), "path": None}], "label": [0]}
        Dataset.from_dict(rows, features).to_parquet(tmp_path / f"{name}.parquet")
    assert complaint(tmp_path).startswith("b.parquet: its column 'label' holds other class labels")


def test_a_missing_root_and_pools_of_a_single_file_are_told(tmp_path):
    with pytest.raises(TailproofError, match=r"nowhere does not exist; correct data\.source\.root"):
        source(tmp_path / "nowhere").files()
    write(tmp_path / "x.parquet")
    with pytest.raises(TailproofError, match=r"x\.parquet is a file: leave data\.source\.train"):
        source(tmp_path / "x.parquet", train="a", test="b").files()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "x"}, "'test' is given but 'train' is not"),
        ({"train": "../x"}, "leaves root"),
        ({"filter": {"year": 1.5}}, "valid string"),
        ({"ranks": ["path"]}, "'path' is a column of tailproof's own"),
    ],
)
def test_a_contradictory_configuration_is_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        Parquet(name="parquet", root="x", **options)


def test_what_is_gone_since_prepare_is_named(tmp_path):
    write(tmp_path / "x.parquet")
    opened = source(tmp_path)
    with pytest.raises(TailproofError, match=r"x\.parquet, row 3: no longer in the source; run"):
        opened.read("x.parquet", 3)
    with pytest.raises(TailproofError, match=r"y\.parquet does not exist; run the stage prepare"):
        opened.read("y.parquet", 0)


def test_a_damaged_page_is_named(tmp_path):
    write(tmp_path / "x.parquet", rows=1000, row_group_size=500)
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    content[1000:60000] = bytes(59000)
    (tmp_path / "x.parquet").write_bytes(content)
    assert complaint(tmp_path).startswith("x.parquet cannot be read as parquet (")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three files of 200 images in row groups of 70."""
    root = tmp_path_factory.mktemp("files")
    for number in range(3):
        write(root / f"{number}.parquet", rows=200, row_group_size=70, first=200 * number)
    return root


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 199)), max_size=40))
def test_rows_are_read_in_any_order(files, rows):
    opened = source(files)
    wanted = [(f"{number}.parquet", row) for number, row in rows]
    expected = [png(200 * number + row) for number, row in rows]
    assert [opened.read(*place) for place in wanted] == expected
    assert list(opened.read_many(wanted)) == expected


@pytest.mark.parametrize("spool", [1, 1 << 20])
def test_a_shuffled_dataset_is_read_once_through_memory_or_disk(files, monkeypatch, spool):
    monkeypatch.setattr(module, "SPOOL", spool)
    opened = source(files)
    wanted = [(sample.path, sample.row) for sample in opened.samples()]
    random.Random(0).shuffle(wanted)
    found = list(opened.read_many(wanted))
    assert found == [png(200 * int(path[0]) + row) for path, row in wanted]


def test_a_full_temporary_disk_is_told(files, monkeypatch):
    class Full(tempfile.SpooledTemporaryFile):
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    with pytest.raises(TailproofError, match=r"no space left in .* set TMPDIR to a larger disk"):
        list(source(files).read_many([("0.parquet", 1)]))


def test_an_image_that_does_not_decode_is_named_with_its_row(tmp_path):
    write(tmp_path / "raw/x.parquet", image=structs(png(0), b"GIF89a", png(1)))
    data = Data(source={"name": "parquet", "root": str(tmp_path / "raw")})
    with pytest.raises(TailproofError, match=r"x\.parquet, row 1: it does not decode as an image"):
        prepare(data, tmp_path / "samples.parquet")
    assert not (tmp_path / "samples.parquet").exists()


def test_shards_of_this_project_are_a_source_like_others(digits, tmp_path):
    """What one experiment wrote, another reads: ids, labels and pixels come back."""
    data = Data(
        source={
            "name": "parquet",
            "root": str(digits.parent),
            "train": "train",
            "test": "dev",
            "ranks": ["class"],
            "id": "sample_id",
        },
        splits={"val": 0.2, "calib": 0.2},
    )
    manifest = build_data(data, tmp_path)
    samples = read_parquet(tmp_path / "samples.parquet").to_pandas().set_index("sample_id")
    assert table_metadata(tmp_path / "samples.parquet")["classes"] == {
        "class": [str(digit) for digit in range(10)]
    }
    before = read_parquet(digits.parent.parent / "samples.parquet").to_pandas()
    before = before.set_index("sample_id").loc[samples.index]
    assert (before["digest"] == samples["digest"]).all()
    assert (before["class"] == samples["class"]).all()
    row = read_parquet(manifest.parent / "val/part-00000.parquet").to_pylist()[0]
    assert decode(row["image"]["bytes"], "L").shape == (8, 8)
    assert samples.loc[row["sample_id"], "class"] == str(row["class"])
