"""Results changed by hand, with all records rewritten to match: other files contradict them."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailproof.calibration.calibrated_logits import calibrate_block, calibrated_metadata
from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.calibration.calibrator import Calibrator
from tailproof.data.logits import Logits
from tailproof.files import json_text
from tailproof.provenance.cross_checks import CrossChecks
from tailproof.recomputation.recompute import recompute
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


def better_history(results):
    """The last epoch of a run, which is the exported one, has a better accuracy on val."""
    path = results / EXPERT / "history.csv"
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    for name in ("val_accuracy", "val_balanced_accuracy"):
        rows[-1][header.index(name)] = "0.999"
    path.write_text("".join(f"{','.join(row)}\n" for row in [header, *rows]))
    best = {"epoch": int(rows[-1][0]), "value": 0.999}
    edit_json(results / EXPERT / "training.json", lambda value: value["best"].update(best))


def earlier_best(results):
    edit_json(results / EXPERT / "training.json", lambda value: value["best"].update(value=0.5))


def more_samples_of_a_class(results):
    edit_json(
        results / "shards" / "manifest.json",
        lambda value: value["splits"]["train"]["class_counts"]["class"].update({"0": 9}),
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
    "a better history": (better_history, f"{EXPERT}/history.csv"),
    "another best value": (earlier_best, f"{EXPERT}/training.json"),
    "other counts of classes": (more_samples_of_a_class, "shards/manifest.json"),
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


# What is found only by computing it again --------------------------------------------------------


def right_logits(results):
    """Raw and calibrated logits that answer right, and agree with each other."""
    path = results / EXPERT / "raw_logits" / "test.parquet"
    logits = Logits.read(path)
    values = logits.values.copy()
    values[np.arange(len(values)), logits.labels["class"]] += 9
    raw = replace(logits, heads={"class": values})
    raw.write(path)
    calibrators = CalibrationFile.read(results / EXPERT / "calibration.json").calibrators("class")
    metadata = calibrated_metadata(raw.metadata, calibrators)
    calibrated = replace(raw, heads=calibrate_block(raw.heads, calibrators), metadata=metadata)
    calibrated.write(results / EXPERT / "logits" / "test.parquet")


def edit_number(name):
    """Change the first number with a point of a text."""

    def change(results):
        path = results / name
        text = path.read_text()
        number = re.search(r"\d\.\d{3}|>\d\d\.\d", text)[0]
        path.write_text(text.replace(number, f"{number[:-1]}{9 - int(number[-1])}", 1))

    return change


RECOMPUTED = {
    "evaluation/metrics.json": lambda results: edit_json(
        results / "evaluation/metrics.json",
        lambda value: value["ensembles"]["stacked"]["over_seeds"]["test"]["ece"].update(mean=0.001),
    ),
    "evaluation/summary.csv": edit_number("evaluation/summary.csv"),
    "evaluation/guarantee_rules.json": lambda results: edit_json(
        results / "evaluation/guarantee_rules.json",
        lambda value: value["cross_entropy"]["0"].update(confidence=0.99),
    ),
    f"{EXPERT}/deployment.json": lambda results: edit_json(
        results / EXPERT / "deployment.json",
        lambda value: value["rules"]["chow"][0].update(threshold=-0.123),
    ),
    f"{EXPERT}/raw_logits/test.parquet": right_logits,
    "report/index.html": edit_number("report/index.html"),
    "inspection/summary.json": lambda results: edit_json(
        results / "inspection/summary.json", lambda value: value.update(more=1)
    ),
    "splits.json": lambda results: edit_json(
        results / "splits.json", lambda value: value.update(more=1)
    ),
}


def test_forgeries_that_agree_with_each_other_are_found_by_computing_them_again(twin, monkeypatch):
    for forge in RECOMPUTED.values():
        forge(twin.results)
    rewrite_records(twin.folder)
    monkeypatch.chdir(twin.folder)
    ledger = read_ledger("tiny")
    broken = recompute(ledger, ledger.files).broken
    for path in RECOMPUTED:
        assert any(sentence.startswith(f"results/tiny/{path}") for sentence in broken), broken
    others = "experts/balanced_softmax/seed-0/raw_logits"
    assert not any(sentence.startswith(f"results/tiny/{others}") for sentence in broken)
