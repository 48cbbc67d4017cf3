"""Who may read the split test, asked of the records of a finished experiment."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tailproof.data.duplicate_pairs import Pairs, write_pairs
from tailproof.data.tables import read_parquet
from tailproof.provenance.split_invariants import broken_invariants
from tailproof.runtime.ledger import read_ledger
from tailproof.runtime.records import File


@pytest.fixture
def ledger(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    return read_ledger("tiny")


def broken(finished, ledger, rule, path):
    """The promises broken by a first record of `rule` that had read `path`, too."""
    name, record = next(item for item in ledger.records.items() if item[1].rule == rule)
    read = [*record.inputs, File(path=path, sha256="0" * 64, bytes=1)]
    changed = record.model_copy(update={"inputs": read})
    return broken_invariants(finished.results, replace(ledger, records={name: changed}))


@pytest.mark.parametrize(
    "path",
    [
        "results/tiny/shards/test/part-00000.parquet",
        "results/tiny/experts/cross_entropy/seed-0/logits/test.parquet",
        "results/test/experts/test/seed-0/raw_logits/test.parquet",
        "features/start--1234/test.parquet/part-00000.parquet",
    ],
)
def test_a_job_that_read_test_and_must_not_is_told(finished, ledger, path):
    (sentence,) = broken(finished, ledger, "calibrate", path)
    assert "/provenance/calibrate/" in sentence and path in sentence


@pytest.mark.parametrize(
    "path",
    [
        "results/test/samples.parquet",
        "results/tiny/experts/test/seed-0/model.safetensors",
        "results/tiny/provenance/shard/test-00000.json",
        "pretrained/test/model.safetensors",
        "features/test/train.parquet/part-00000.parquet",
    ],
)
def test_what_is_only_named_like_it_may_be_read(finished, ledger, path):
    assert broken(finished, ledger, "calibrate", path) == []


def test_near_duplicates_in_two_splits_are_told_if_they_were_to_be_grouped(
    finished, ledger, tmp_path, monkeypatch
):
    splits = read_parquet(finished.results / "splits.parquet").to_pandas()
    some = splits.drop_duplicates("split")["sample_id"].tolist()[:2]
    one = np.ones(1)
    pairs = Pairs(np.array([0]), np.array([1]), one, one > 2, one)
    folder = tmp_path / "results" / "tiny"
    for name in ("samples.parquet", "splits.parquet"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(finished.results / name, folder)
    monkeypatch.chdir(tmp_path)
    path = "results/tiny/near_duplicates/pairs.parquet"
    write_pairs(path, pairs, pa.array(some), {})
    name, record = next(item for item in ledger.records.items() if item[1].rule == "split")
    read = [*record.inputs, File(path=path, sha256="0" * 64, bytes=1)]
    grouped = record.model_copy(update={"inputs": read})
    results = Path("results/tiny")
    assert broken_invariants(results, replace(ledger, records={name: record})) == []
    (sentence,) = broken_invariants(results, replace(ledger, records={name: grouped}))
    assert all(sample in sentence for sample in some)


def test_those_that_may_do(finished, ledger):
    shard = "results/tiny/shards/test/part-00000"
    assert broken(finished, ledger, "infer", f"{shard}.parquet") == []
    assert broken(finished, ledger, "manifest", f"{shard}.json") == []
    (sentence,) = broken(finished, ledger, "manifest", f"{shard}.parquet")
    assert "/provenance/manifest/" in sentence and f"{shard}.parquet" in sentence
