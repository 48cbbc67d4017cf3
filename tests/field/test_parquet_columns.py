"""Columns of parquet files as pandas writes them: whole numbers as floats, NA, official splits."""

import numpy as np
import pyarrow as pa
import pytest

from tailproof.runtime.errors import TailproofError
from tests.data.sources.parquet_files import complaint, source, write


def test_whole_numbers_next_to_an_empty_cell_are_whole_numbers(tmp_path):
    write(tmp_path / "train.parquet", label=pa.array([7, 8, 9]))
    write(tmp_path / "test.parquet", label=pa.array([7.0, np.nan, 9.0]))
    opened = source(tmp_path, train="train.parquet", test="test.parquet")
    labels = [sample.labels["label"] for sample in opened.samples()]
    assert labels == ["7", "8", "9", "7", None, "9"]
    assert opened.classes == {"label": ["7", "8", "9"]}


@pytest.mark.parametrize("value", [0.5, np.inf, 2.0**53])
def test_a_number_that_names_no_class_is_refused_with_its_row(tmp_path, value):
    write(tmp_path / "x.parquet", label=pa.array([1.0, value, 2.0]))
    assert "row 1" in complaint(tmp_path) and str(value) in complaint(tmp_path)


def test_whole_numbers_as_text_in_two_spellings_are_one_class(tmp_path):
    write(tmp_path / "a.parquet", label=["7", "8", "7"])
    write(tmp_path / "b.parquet", label=["7.0", "8.0", None], first=3)
    opened = source(tmp_path)
    assert opened.classes == {"label": ["7", "8"]}
    assert "'7.0' (1 sample)" in opened.warnings()[0]


def test_na_needs_a_decision_in_labels_and_groups(tmp_path):
    write(tmp_path / "x.parquet", rows=6, label=["a", "NA", "b"] * 2, plot=["NA", "p", "NA"] * 2)
    message = complaint(tmp_path, group="plot")
    for word in ("2 of 6", "4 of 6", "x.parquet, row 1", "[NA]"):
        assert word in message
    samples = list(source(tmp_path, group="plot", missing=["NA"]).samples())
    assert [sample.group for sample in samples] == [None, "p", None] * 2
    assert [sample.labels["label"] for sample in samples] == ["a", None, "b"] * 2


def test_minus_one_among_whole_numbers_needs_a_decision(tmp_path):
    write(tmp_path / "x.parquet", rows=4, label=pa.array([0, 1, 2, -1]))
    assert "'-1' in 1 of 4" in complaint(tmp_path)
    assert source(tmp_path, missing=["-1"]).classes == {"label": ["0", "1", "2"]}


def test_an_official_validation_set_is_a_pool_and_other_files_are_counted(tmp_path):
    for number, name in enumerate(("train-0", "validation-0", "test-0", "extra")):
        write(tmp_path / f"{name}.parquet", first=3 * number, animal=["1", "1", "2"])
    pools = {"train": "train-*.parquet", "val": "validation-*.parquet", "test": "test-*.parquet"}
    opened = source(tmp_path, group="animal", group_per_pool=True, **pools)
    samples = list(opened.samples())
    assert [sample.pool for sample in samples] == ["train"] * 3 + ["val"] * 3 + ["held_out"] * 3
    assert len({sample.group for sample in samples}) == 6
    assert [each.examples for each in opened.skipped()] == [("extra.parquet",)]
    del pools["val"]
    assert source(tmp_path, **pools).skipped()[0].count == 2


def test_a_column_of_official_splits_gives_the_pools(tmp_path):
    write(tmp_path / "x.parquet", subset=["train", "validation", "test"])
    pools = [sample.pool for sample in source(tmp_path, split="subset").samples()]
    assert pools == ["train", "val", "held_out"]
    write(tmp_path / "x.parquet", subset=["train", "extra", "test"])
    assert "'extra' in 1 row" in complaint(tmp_path, split="subset")


@pytest.mark.parametrize(
    "options", [{"train": "t", "test": "t", "split": "s"}, {"val": "v"}, {"missing": {"x": []}}]
)
def test_contradictory_options_are_refused(tmp_path, options):
    with pytest.raises((TailproofError, ValueError)):
        source(tmp_path, **options)
