"""What the audit says of unknown pictures in the six splits."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tailproof.config.data import Data
from tailproof.data.prepare import prepare
from tailproof.data.splits import split
from tailproof.data.tables import read_parquet, write_parquet
from tailproof.provenance.split_invariants import broken_invariants
from tailproof.runtime.ledger import Ledger
from tailproof.runtime.records import Record
from tests.conftest import DIGITS

DATA = DIGITS | {"unknown": {"classes": ["8", "9"]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("results"), Data(**DATA)
    prepare(data, folder / "samples.parquet")
    split(folder / "samples.parquet", data, folder / "splits.parquet", folder / "splits.json")
    return folder


def ledger(**data) -> Ledger:
    """The record of prepare alone, with what the audit reads of it."""
    parameters = {"data": {"target": None, **data}}
    record = Record.model_construct(
        rule="prepare", parameters=parameters, inputs=[], outputs=[], undeclared=[]
    )
    return Ledger("tiny", {"prepare": record})


def test_nothing_is_wrong_with_what_the_stages_write(folder):
    assert broken_invariants(folder, ledger(unknown=DATA["unknown"])) == []
    assert broken_invariants(folder, ledger()) == []


def test_an_unknown_picture_in_one_of_the_six_splits_is_found(folder, tmp_path):
    splits = read_parquet(folder / "splits.parquet")
    moved = pc.if_else(pc.equal(splits["split"], "unknown_test"), "train", splits["split"])
    (tmp_path / "samples.parquet").write_bytes((folder / "samples.parquet").read_bytes())
    write_parquet(tmp_path / "splits.parquet", splits.set_column(1, "split", moved))
    (sentence,) = broken_invariants(tmp_path, ledger())
    count = pc.sum(pc.equal(splits["split"], "unknown_test")).as_py()
    assert f"{count} samples of unknown classes" in sentence and "in train" in sentence
    backward = pc.if_else(pc.equal(splits["split"], "dev"), "unknown_tune", splits["split"])
    write_parquet(tmp_path / "splits.parquet", splits.set_column(1, "split", backward))
    (sentence,) = broken_invariants(tmp_path, ledger())
    assert "in unknown_tune" in sentence


def test_a_sample_with_the_label_of_a_held_out_class_is_found(folder):
    (sentence,) = broken_invariants(folder, ledger(unknown={"classes": ["7"]}))
    labels = read_parquet(folder / "samples.parquet", ["class"])["class"]
    count = pc.sum(pc.equal(labels, pa.scalar("7"))).as_py()
    assert f"{count} samples have" in sentence and sentence.endswith(" 7")
