"""Results changed by hand, with all records rewritten to match: other files contradict them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.calibration.calibrated_logits import calibrate_block, calibrated_metadata
from tailproof.calibration.calibrator import Calibrator
from tailproof.data.logits import Logits
from tailproof.files import json_text
from tailproof.provenance.cross_checks import CrossChecks
from tailproof.runtime.ledger import read_ledger
from tests.field.forged_records import rewrite_manifest, rewrite_records

EXPERT = "experts/cross_entropy/seed-0"
SHARD = "shards/test/part-00000.parquet"


def edit_json(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json_text(value))


def double_temperature(results):
    """Calibration and calibrated logits agree with each other."""
    edit_json(
        results / EXPERT / "calibration.json",
        lambda value: value.update(temperature=2 * value["temperature"]),
    )
    for path in (results / EXPERT / "logits").glob("*.parquet"):
        raw = Logits.read(results / EXPERT / "raw_logits" / path.name)
        doubled = {"class": Calibrator(2 * Logits.read(path).temperature)}
        metadata = calibrated_metadata(raw.metadata, doubled)
        replace(raw, heads=calibrate_block(raw.heads, doubled), metadata=metadata).write(path)


def sharpen_logits(results):
    logits = Logits.read(results / EXPERT / "logits" / "test.parquet")
    heads = {rank: values * 2 for rank, values in logits.heads.items()}
    replace(logits, heads=heads).write(results / EXPERT / "logits" / "test.parquet")


def label_as_predicted(results):
    for kind in ("raw_logits", "logits"):
        path = results / EXPERT / kind / "test.parquet"
        logits = Logits.read(path)
        replace(logits, labels={"class": logits.values.argmax(axis=1)}).write(path)


def exchange_rows(column):
    """Exchange a column between the first two rows of different classes of a test shard."""

    def change(results):
        table = pq.read_table(results / SHARD)
        labels = table["class"].to_pylist()
        other = next(row for row, label in enumerate(labels) if label != labels[0])
        order = np.arange(len(table))
        order[[0, other]] = other, 0
        index = table.column_names.index(column)
        values = table[column].take(pa.array(order))
        pq.write_table(table.set_column(index, table.schema.field(column), values), results / SHARD)

    return change


def better_metrics(results):
    edit_json(
        results / "evaluation" / "metrics.json",
        lambda value: value["experts"]["cross_entropy"]["seeds"]["0"]["test"]["top1"].update(
            value=0.99
        ),
    )


def other_recipe(results):
    edit_json(
        results / EXPERT / "config.json",
        lambda value: value["tailproof"]["recipe"].update(batch_size=128),
    )


def other_weights(results):
    shutil.copy(
        results / "experts/balanced_softmax/seed-0/model.safetensors",
        results / EXPERT / "model.safetensors",
    )


def blacken_thumbnails(results):
    """Hide the copies of all images from `tailproof contains` and the report."""
    path = results / "near_duplicates" / "thumbnails.parquet"
    table = pq.read_table(path)
    index = table.column_names.index("thumbnail")
    values = table["thumbnail"].take(pa.array(np.zeros(len(table), int)))
    pq.write_table(table.set_column(index, table.schema.field("thumbnail"), values), path)


def deploy_for_other_weights(results):
    edit_json(
        results / EXPERT / "deployment.json", lambda value: value.update(weights_sha256="0" * 64)
    )


FORGERIES = {
    "the temperature doubled": (double_temperature, f"{EXPERT}/calibration.json"),
    "logits sharpened": (sharpen_logits, f"{EXPERT}/logits/test.parquet"),
    "labels as predicted": (label_as_predicted, f"{EXPERT}/raw_logits/test.parquet"),
    "two images exchanged": (exchange_rows("image"), SHARD),
    "two labels exchanged": (exchange_rows("class"), SHARD),
    "two weights exchanged": (exchange_rows("weight"), SHARD),
    "a better accuracy": (better_metrics, "evaluation/metrics.json"),
    "another recipe": (other_recipe, f"{EXPERT}/config.json"),
    "other thumbnails": (blacken_thumbnails, "near_duplicates/thumbnails.parquet"),
    "a deployment of other weights": (deploy_for_other_weights, f"{EXPERT}/deployment.json"),
    "another expert's weights": (other_weights, f"{EXPERT}/raw_logits/test.parquet"),
}


def contradictions(project, monkeypatch) -> list[str]:
    monkeypatch.chdir(project.folder)
    ledger = read_ledger("tiny")
    assert not ledger.unreadable
    return CrossChecks(Path("results/tiny"), ledger, ledger.files.keys()).contradictions()


def test_files_as_they_were_made_contradict_nothing(twin, monkeypatch):
    assert contradictions(twin, monkeypatch) == []


@pytest.mark.parametrize(("forge", "path"), FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_contradicts_another_file(twin, monkeypatch, forge, path):
    forge(twin.results)
    rewrite_manifest(twin.folder)
    rewrite_records(twin.folder)
    sentences = contradictions(twin, monkeypatch)
    assert any(sentence.startswith(f"results/tiny/{path}") for sentence in sentences), sentences


def test_the_audit_of_a_forgery_does_not_hold(twin):
    exchange_rows("image")(twin.results)
    rewrite_manifest(twin.folder)
    rewrite_records(twin.folder)
    done = twin.tailproof("audit", "tiny")
    assert done.returncode == 1
    assert f"broken    results/tiny/{SHARD}" in done.stdout
    assert "altered" not in done.stdout


def test_a_copy_of_a_record_is_no_record(twin):
    record = twin.results / "provenance" / "split" / "split.json"
    shutil.copy(record, record.with_name("copy.json"))
    done = twin.tailproof("audit", "tiny")
    assert done.returncode == 1
    assert "altered   results/tiny/provenance/split/copy.json" in done.stdout
    assert "results/tiny/provenance/split/split.json" in done.stdout
