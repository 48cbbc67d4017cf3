import errno
import os
import random
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from hypothesis import given
from hypothesis import strategies as st

from tailproof.config.data import Data
from tailproof.data.images import decode
from tailproof.data.sources import Sample, open_source
from tailproof.data.sources import parquet as module
from tailproof.data.sources.parquet import Parquet, ParquetSource
from tailproof.data.tables import read_parquet, table_metadata
from tailproof.runtime.errors import TailproofError
from tests.conftest import build_data
from tests.data.sources.parquet_files import STRUCT, partitioned, png, source, structs, write


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
    with pytest.raises(TailproofError, match=r"no space left.*TMPDIR"):
        list(source(files).read_many([("0.parquet", 1)]))


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


def published(root, **splits) -> None:
    """Write a dataset as the Hugging Face Hub exports it: data/SPLIT-00000-of-00001.parquet."""
    classes = {"fine": ["lynx", "otter", "owl", "toad"], "coarse": ["mammal", "other"]}
    labels = {name: ClassLabel(names=names) for name, names in classes.items()}
    features = Features(img=Image(), **labels, note=Value("string"))
    (root / "data").mkdir(parents=True)
    for split, first in splits.items():
        rows = {
            "img": [{"bytes": png(first + row), "path": None} for row in range(8)],
            "fine": [row % 4 for row in range(8)],
            "coarse": [row % 4 // 2 for row in range(8)],
            "note": [f"{split}{row}" for row in range(8)],
        }
        file = root / "data" / f"{split}-00000-of-00001.parquet"
        Dataset.from_dict(rows, features).to_parquet(file)


def test_an_export_of_the_hub_is_recognized_with_its_splits_names_and_ranks(tmp_path):
    published(tmp_path, train=0, validation=8, test=16)
    found = ParquetSource.recognize(tmp_path)
    assert found.sure
    assert found.source == {
        "name": "parquet",
        "root": str(tmp_path),
        "train": "data/train-00000-of-00001.parquet",
        "val": "data/validation-00000-of-00001.parquet",
        "test": "data/test-00000-of-00001.parquet",
        "image": "img",
        "ranks": ["coarse", "fine"],
    }
    opened = open_source(Parquet(**found.source))
    samples = list(opened.samples())
    assert [sample.pool for sample in samples[::8]] == ["train", "val", "held_out"]
    assert samples[2].labels == {"coarse": "other", "fine": "owl"}
    assert opened.read(samples[9].path, samples[9].row) == png(9)
    assert ParquetSource.recognize(tmp_path / "data").source["train"].startswith("train-")
    one = ParquetSource.recognize(tmp_path / "data" / "test-00000-of-00001.parquet")
    assert one.source.keys() == {"name", "root", "image", "ranks"}


def test_several_files_of_a_split_are_recognized_by_a_pattern(tmp_path):
    for number in range(3):
        write(tmp_path / f"train-{number}.parquet")
    write(tmp_path / "test" / "x.parquet")
    found = ParquetSource.recognize(tmp_path)
    assert (found.source["train"], found.source["test"]) == ("train-*.parquet", "test")
    assert len(open_source(Parquet(**found.source))) == 12


def test_a_column_of_observations_is_the_group_and_fractions_do_not_hide_labels(tmp_path):
    rows = 36
    columns = {
        "label": [("owl", "lynx")[row // 3 % 2] for row in range(rows)],
        "latitude": [row / 7 for row in range(rows)],
        "observation_id": [row // 3 for row in range(rows)],
    }
    for split in ("test", "train"):
        write(tmp_path / "data" / f"{split}-00000-of-00001.parquet", rows, **columns)
    found = ParquetSource.recognize(tmp_path)
    assert (found.source["ranks"], found.source["group"]) == (["label"], "observation_id")
    assert found.sure


@pytest.mark.parametrize("path", ["{}/{}-0.parquet", "{}/{}/0000.parquet", "data/{}/{}-0.parquet"])
def test_configurations_of_a_dataset_are_not_mixed(tmp_path, path):
    for place in ("full", "resized"):
        for split in ("train", "test"):
            write(tmp_path / path.format(place, split))
    with pytest.raises(TailproofError, match=r"full.*resized.*import one") as error:
        ParquetSource.recognize(tmp_path)
    chosen = str(error.value).rsplit("tailproof import ")[1].strip("`")
    assert len(open_source(Parquet(**ParquetSource.recognize(Path(chosen)).source))) == 6


def test_other_parquet_files_are_not_taken_for_pictures(tmp_path):
    assert ParquetSource.recognize(tmp_path) is None
    pq.write_table(pa.table({"x": [1], "label": ["a"]}), tmp_path / "x.parquet")
    assert ParquetSource.recognize(tmp_path) is None
    write(tmp_path / "x.parquet", label=["a", "b", "c"])
    with pytest.raises(TailproofError, match=r"ranks: \[COLUMN\].* label$"):
        ParquetSource.recognize(tmp_path)
