"""The Croissant description of shards, read by MLCommons' own library."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.config.splits import SPLITS
from tailproof.provenance.export.croissant import UNKNOWN_LICENCE, describe_shards
from tailproof.runtime.records import read_record
from tests.provenance import validators

READ = """
import json, sys
import mlcroissant
for record in mlcroissant.Dataset(jsonld=sys.argv[1]).records(sys.argv[2]):
    shown = {key.rsplit("/", 1)[1]: value for key, value in record.items()}
    for key, value in shown.items():
        if hasattr(value, "tobytes"):
            shown[key] = list(value.tobytes())
        elif isinstance(value, bytes):
            shown[key] = value.decode()
    print(json.dumps(shown))
"""


def read(description: Path, records: str) -> list[dict]:
    done = validators.run("python", "-c", READ, description, records)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def describe(results: Path, manifest: dict, folder: Path) -> Path:
    maker = read_record(results / "provenance" / "manifest" / "manifest.json")
    path = folder / "croissant.json"
    path.write_text(json.dumps(describe_shards("Tiny digits", "", manifest, maker)))
    return path


@pytest.fixture
def manifest(finished) -> dict:
    return json.loads((finished.results / "shards" / "manifest.json").read_text())


@pytest.fixture
def description(finished, manifest, tmp_path) -> Path:
    """A description beside the shards that it describes."""
    shutil.copytree(finished.results / "shards", tmp_path / "shards")
    return describe(finished.results, manifest, tmp_path)


def test_a_description_is_accepted_and_one_that_is_broken_is_not(description):
    accepted = validators.run("mlcroissant", "validate", "--jsonld", description)
    assert accepted.returncode == 0, accepted.stderr

    value = json.loads(description.read_text())
    value["distribution"] = [
        part for part in value["distribution"] if part["@type"] != "cr:FileSet"
    ]
    description.write_text(json.dumps(value))
    refused = validators.run("mlcroissant", "validate", "--jsonld", description)
    assert refused.returncode == 1
    assert "shards" in refused.stderr


def test_every_shard_is_named_with_its_checksum(description):
    value = json.loads(description.read_text())
    files = {part["contentUrl"]: part for part in value["distribution"] if "contentUrl" in part}
    shards = sorted((description.parent / "shards").glob("*/*.parquet"))
    assert sorted(files) == [str(path.relative_to(description.parent)) for path in shards]
    for path in shards:
        told = files[str(path.relative_to(description.parent))]
        assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert told["contentSize"] == f"{path.stat().st_size} B"


def test_what_nobody_said_is_not_made_up(description):
    value = json.loads(description.read_text())
    assert value["license"] == UNKNOWN_LICENCE
    assert not {"url", "citeAs", "version"} & set(value)
    assert value["creator"]["name"]


def test_the_records_are_the_samples(description, manifest):
    found = {record["sample_id"]: record for record in read(description, "samples")}
    rows = 0
    for split in SPLITS:
        for shard in manifest["splits"][split]["shards"]:
            for row in pq.read_table(description.parent / "shards" / shard["path"]).to_pylist():
                rows += 1
                record = found[row["sample_id"]]
                assert record["split"] == split
                assert record["class"] == row["class"]
                assert record["weight"] == pytest.approx(row["weight"])
                assert len(record["image"]) == 64
    assert rows == len(found) > 500
    classes = read(description, "classes/class")
    assert [record["name"] for record in classes] == manifest["classes"]["class"]
    assert [record["number"] for record in classes] == list(range(10))


def test_odd_names_and_samples_without_a_label_can_be_read(finished, manifest, tmp_path):
    target = "what kind? 100 % é"
    path = tmp_path / "shards" / "train" / "part-00000.parquet"
    path.parent.mkdir(parents=True)
    table = pq.read_table(finished.results / "shards" / "train" / "part-00000.parquet")[:9]
    at = table.schema.get_field_index("class")
    labels = pa.array([None, *table["class"].to_pylist()[1:]], pa.int64())
    pq.write_table(table.set_column(at, target, labels), path)
    odd = manifest | {
        "target": target,
        "ranks": [target],
        "classes": {target: manifest["classes"]["class"]},
    }
    records = read(describe(finished.results, odd, tmp_path), "samples")
    found = [next(v for k, v in record.items() if "kind" in k) for record in records]
    assert found == labels.to_pylist()
