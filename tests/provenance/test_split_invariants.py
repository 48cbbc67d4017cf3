"""Who may read the split test, asked of the records of a finished experiment."""

from dataclasses import replace

import pytest

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
    ],
)
def test_what_is_only_named_like_it_may_be_read(finished, ledger, path):
    assert broken(finished, ledger, "calibrate", path) == []


def test_those_that_may_do(finished, ledger):
    shard = "results/tiny/shards/test/part-00000"
    assert broken(finished, ledger, "infer", f"{shard}.parquet") == []
    assert broken(finished, ledger, "manifest", f"{shard}.json") == []
    (sentence,) = broken(finished, ledger, "manifest", f"{shard}.parquet")
    assert "/provenance/manifest/" in sentence and f"{shard}.parquet" in sentence
