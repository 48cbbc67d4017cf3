"""Records: read back as they were written, or refused."""

import json
import os
from contextlib import chdir
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tailproof.config.validation import parse_experiment
from tailproof.project import PIPELINE as ROOT
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.provenance.record_schema import schema
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import read_ledger
from tailproof.runtime.records import VERSION, Code, File, Machine, NewerSchema, Record, read_record
from tests.project import TINY

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TIMES = st.datetimes(
    datetime(2000, 1, 1),
    datetime(2100, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)
FILES = st.lists(st.builds(File, path=NAMES, sha256=DIGESTS, bytes=st.integers(0, 2**50)))
RECORDS = st.builds(
    Record,
    version=st.just(VERSION),
    experiment=NAMES,
    rule=NAMES,
    name=NAMES,
    wildcards=st.dictionaries(NAMES, NAMES, max_size=2),
    inputs=FILES,
    outputs=FILES,
    parameters=st.dictionaries(NAMES, VALUES, max_size=3),
    running=st.dictionaries(NAMES, VALUES, max_size=2),
    results=st.dictionaries(NAMES, VALUES, max_size=2),
    seeds=st.lists(st.integers(0, 2**32)),
    code=st.builds(
        Code,
        version=NAMES,
        closure=DIGESTS,
        runtime=DIGESTS,
        commit=st.none() | NAMES,
        difference=st.none() | DIGESTS,
        packages=st.dictionaries(NAMES, NAMES, max_size=2),
        python=NAMES,
    ),
    machine=st.builds(Machine, host=NAMES, user=NAMES, slurm_job=st.none() | NAMES, device=NAMES),
    started=TIMES,
    ended=TIMES,
    command=NAMES,
    log=NAMES,
    seal=st.just(""),
)


@given(RECORDS)
def test_what_is_written_is_read(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("record") / "record.json"
    record.write(path)
    found = read_record(path)
    assert found.model_copy(update={"seal": ""}) == record
    assert len(found.seal) == 64


@given(record=RECORDS, data=st.data())
def test_any_changed_byte_is_noticed(tmp_path_factory, record, data):
    path = tmp_path_factory.mktemp("record") / "record.json"
    record.write(path)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(TailproofError):
        read_record(path)


def test_the_published_schema_is_the_model_s_and_takes_what_jobs_write(finished, monkeypatch):
    published = json.loads((ROOT / "docs" / "record-schema.json").read_text())
    assert published == schema(), "run `make schema`"
    Draft202012Validator.check_schema(published)
    validator = Draft202012Validator(published)
    monkeypatch.chdir(finished.folder)
    ledger = read_ledger("tiny")
    assert len(ledger.records) == len(expected_jobs(parse_experiment(TINY))) + 2, "report and audit"
    assert not ledger.unreadable
    for path, record in ledger.records.items():
        value = json.loads(record.text())
        validator.validate(value)
        assert path == record.path
        assert not validator.is_valid({**value, "more": 1})
        assert record.started < record.ended
        assert record.machine.peak_memory_bytes > 2**24
        assert (finished.folder / record.log).exists()
        assert record.command
    (train,) = [r for r in ledger if (r.rule, r.name) == ("train", "cross_entropy-0")]
    assert train.seeds == [0]
    assert train.code.packages["torch"].startswith("2.")
    assert "code" not in train.parameters


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('{"version": 3, "more": 1}', NewerSchema, r"schema 3\b.*\b2\b"),
        ('{"version": 2}', TailproofError, r"\bexperiment\b"),
        ('{"version": 1}', TailproofError, r"schema 1\b.*\b2\b"),
        ("[]", TailproofError, "record"),
        ("{", TailproofError, "record"),
        ("\udcff", TailproofError, "record"),
    ],
)
def test_what_is_no_record_is_refused_in_a_sentence(tmp_path, text, error, message):
    path = tmp_path / "record.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(error, match=message) as caught:
        read_record(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)
    with pytest.raises(TailproofError, match=r"absent\.json"):
        read_record(tmp_path / "absent.json")


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"version": ' + b"9" * 5000 + b"}", b"[1]", b"\xff\xfe{}", b""]
)
def test_a_foreign_file_is_no_record(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(TailproofError, match=r"record\.json"):
        read_record(path)


def test_a_named_pipe_is_no_record_and_keeps_no_one_waiting(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(TailproofError, match="pipe"):
        read_record(tmp_path / "record.json")


PLACES = [
    f"results/tiny/{'x' * 300}",
    "results/tiny/\0",
    "/etc/passwd",
    "../x",
    "results/../../x",
    "x",
    "",
    "--help",
    "results/tiny/../a/../../x",
]


@given(RECORDS, st.sampled_from(PLACES))
@settings(max_examples=len(PLACES))
def test_a_record_with_an_output_outside_of_the_results_is_none(tmp_path_factory, record, place):
    """No command follows such a path, to write there or to read."""
    named = {"experiment": "tiny", "rule": "split", "name": "split"}
    outside = File(path=place, sha256="0" * 64, bytes=1)
    with chdir(tmp_path_factory.mktemp("project")):
        forged = record.model_copy(update={**named, "outputs": [outside]})
        forged.write(forged.path)
        ledger = read_ledger("tiny")
        assert not ledger.records and forged.path in ledger.unreadable
