"""An expert's folder of the real pipeline, copied away from everything else."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from scipy.special import softmax

from tests.project import ROOT
from tests.warm_python import run_module

EXPERT = "experts/balanced_softmax/seed-0"
NEEDED = ("model.safetensors", "config.json", "calibration.json", "deployment.json")


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory) -> Path:
    """The four files that a prediction needs, and the images of the split test beside them."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in (*NEEDED, "example.py"):
        (folder / "expert").mkdir(exist_ok=True)
        shutil.copy(finished.results / EXPERT / name, folder / "expert" / name)
    table = pq.read_table(finished.results / "shards/test/part-00000.parquet")
    (folder / "images").mkdir()
    for sample, image in zip(table["sample_id"], table["image"], strict=True):
        (folder / "images" / f"{sample}.png").write_bytes(image["bytes"].as_py())
    return folder


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def predict(place, *arguments) -> subprocess.CompletedProcess:
    return run_module(place, ENVIRONMENT, "tailproof.cli", "predict", *arguments)


def predicted(place, *options) -> list[dict[str, str]]:
    done = predict(place, "expert", "images", "--csv", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("323 images, ") and len(done.stderr.splitlines()) == 1
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.fixture(scope="module")
def rows(place) -> list[dict[str, str]]:
    return predicted(place)


@pytest.fixture(scope="module")
def exported(finished) -> pd.DataFrame:
    """The exported logits of test, in the order of the files' names."""
    table = pd.read_parquet(finished.results / EXPERT / "logits/test.parquet")
    return table.sort_values("sample_id", ignore_index=True)


def test_probabilities_are_the_exported_ones(rows, exported):
    assert [Path(row["file"]).stem for row in rows] == exported["sample_id"].tolist()
    p = softmax(np.stack(exported["logits"]).astype(np.float64), axis=1)
    found = np.array([[float(row[f"class={label}"]) for label in range(10)] for row in rows])
    assert np.allclose(found, p, rtol=0, atol=1e-5)
    assert [row["class"] for row in rows] == list(map(str, p.argmax(axis=1)))
    assert np.allclose([float(row["probability"]) for row in rows], p.max(axis=1), atol=1e-5)


def test_decisions_are_those_that_the_metrics_count(finished, place, rows, exported):
    metrics = json.loads((finished.results / "evaluation/metrics.json").read_text())
    expected = metrics["experts"]["balanced_softmax"]["seeds"]["0"]["test"]
    by_rule = {
        "chow_at_0.9": rows,
        "plugin_balanced_at_0.8": predicted(
            place, "--rule", "plugin_balanced", "--coverage", "0.8"
        ),
    }
    for rule, decided in by_rule.items():
        accepted = np.array([row["decision"] == "accept" for row in decided])
        wrong = np.array([row["class"] for row in decided]) != exported["class"].astype(str)
        assert accepted.mean() == pytest.approx(expected[f"coverage_{rule}"]["value"], abs=1e-9)
        risk = expected[f"risk_standard_{rule}"]["value"]
        assert wrong[accepted].mean() == pytest.approx(risk, abs=1e-9)
        assert 0 < accepted.mean() < 1


def test_the_example_runs_in_the_folder_alone(place, rows):
    for row in rows[:2]:
        done = subprocess.run(
            [sys.executable, "expert/example.py", row["file"]],
            cwd=place,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        first = done.stdout.splitlines()[0]
        assert first.endswith(f", '{row['class']}')")
        value = float(first.split(",")[0].removeprefix("("))
        assert value == pytest.approx(float(row["probability"]), abs=1e-5)


def test_a_broken_image_is_told_and_the_status_says_so(place, tmp_path):
    Image.new("L", (8, 8), 7).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("nothing")
    done = predict(place, "expert", str(tmp_path))
    assert done.returncode == 1
    assert "good.png" in done.stdout and "bad.png" not in done.stdout
    first, last = done.stderr.splitlines()
    assert first.startswith(f"tailproof: {tmp_path}/bad.png: ")
    assert last.startswith("1 image, ")


def test_another_folder_is_refused_in_one_sentence(place):
    done = predict(place, "images", "images")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("tailproof: images ") and "model.safetensors" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_card_is_one_that_the_hub_reads(finished):
    folder = finished.results / EXPERT
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "timm" and card.data.license is None
    metrics = json.loads((finished.results / "evaluation/metrics.json").read_text())
    own = metrics["experts"]["balanced_softmax"]["seeds"]["0"]["test"]
    found = {each.metric_type: each.metric_value for each in card.data.eval_results}
    assert found["accuracy"] == own["top1"]["value"]
    assert found["ece"] == own["ece"]["value"]
    assert {each.dataset_split for each in card.data.eval_results} == {"test"}
    assert (folder / "example.py").read_text().rstrip() in card.text
    temperature = json.loads((folder / "calibration.json").read_text())["temperature"]
    assert f"softmax(logits / {temperature:.4f})" in card.text
    splits = json.loads((finished.results / "splits.json").read_text())["splits"]
    for split, count in splits.items():
        assert f"\n| {split} | {count:,} | " in card.text
    assert str(finished.folder) not in card.content
