import hashlib
import json
import os
import re
import shutil
import signal
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, top_k_accuracy_score

from tailproof.calibration.calibrate import calibrate
from tailproof.config.splits import CALIBRATED, SPLITS
from tailproof.config.validation import parse_experiment
from tailproof.report.page import write_page
from tailproof.runtime.job_logging import ATTEMPT
from tailproof.training.launcher import launch
from tests.project import TINY

EXPERTS = list(TINY["experts"])
NOTHING = "Nothing to be done"


def logits(project, expert, split, kind="logits"):
    folder = project.results / "experts" / expert / "seed-0" / kind
    return pd.read_parquet(folder / f"{split}.parquet")


def test_every_promised_file_is_there(finished):
    expected = {
        "samples.parquet",
        "prepare.json",
        "bad_images.csv",
        "splits.parquet",
        "shards/manifest.json",
        "preflight.json",
        "preflight_timing.json",
        "preflight.md",
        "evaluation/metrics.json",
        "evaluation/summary.csv",
        "report/index.html",
        "report/preflight.html",
        *(f"shards/{split}/part-00000.parquet" for split in SPLITS),
    }
    for expert in EXPERTS:
        folder = f"experts/{expert}/seed-0"
        names = ["model.safetensors", "config.json", "history.csv", "training.json"]
        names += ["calibration.json", *(f"logits/{s}.parquet" for s in CALIBRATED)]
        expected |= {f"{folder}/{name}" for name in names}
        expected |= {f"{folder}/raw_logits/{s}.parquet" for s in SPLITS}
    there = {
        str(path.relative_to(finished.results))
        for path in finished.results.rglob("*")
        if path.is_file()
    }
    assert expected <= there
    assert not [name for name in there if "/." in name or name.startswith(".")]


def test_sample_ids_are_disjoint_and_cover_the_splits(finished):
    splits = pd.read_parquet(finished.results / "splits.parquet")
    for expert in EXPERTS:
        seen = pd.concat(
            [logits(finished, expert, s, "raw_logits").assign(split=s) for s in SPLITS]
        )
        assert seen["sample_id"].is_unique
        assert not (finished.results / f"experts/{expert}/seed-0/logits/train.parquet").exists()
        merged = splits.merge(seen, on=["sample_id", "split", "weight"])
        assert len(merged) == len(splits) == len(seen)


def test_calibrated_logits_are_raw_ones_over_the_temperature(finished):
    for expert in EXPERTS:
        folder = finished.results / "experts" / expert / "seed-0"
        temperature = json.loads((folder / "calibration.json").read_text())["temperature"]
        for split in CALIBRATED:
            raw, scaled_by_temperature = (
                np.stack(logits(finished, expert, split, kind)["logits"])
                for kind in ("raw_logits", "logits")
            )
            assert scaled_by_temperature.dtype == np.float32
            assert np.allclose(raw / temperature, scaled_by_temperature, rtol=1e-6)
            schema = pq.read_schema(folder / "logits" / f"{split}.parquet")
            facts = json.loads(schema.metadata[b"tailproof"])
            weights = (folder / "model.safetensors").read_bytes()
            assert facts["temperature"] == temperature
            assert facts["weights_sha256"] == hashlib.sha256(weights).hexdigest()


@pytest.mark.parametrize("split", ["dev", "test"])
def test_metrics_are_those_of_scikit_learn_and_torchmetrics(finished, split):
    from torchmetrics.functional.classification import multiclass_calibration_error  # slow

    metrics = json.loads((finished.results / "evaluation" / "metrics.json").read_text())
    for expert in EXPERTS:
        table = logits(finished, expert, split)
        values = np.stack(table["logits"]).astype(np.float64)
        truth, weight = table["class"].to_numpy(), table["weight"].to_numpy()
        p, predicted, codes = softmax(values, axis=1), values.argmax(1), np.arange(10)
        expected = {
            "top1": (predicted == truth).mean(),
            "top5": top_k_accuracy_score(truth, values, k=5, labels=codes),
            "balanced_accuracy": balanced_accuracy_score(truth, predicted),
            "macro_f1": f1_score(truth, predicted, labels=codes, average="macro", zero_division=0),
            "nll": log_loss(truth, p, labels=codes),
            "brier": ((p - np.eye(10)[truth]) ** 2).sum(1).mean(),
            "ece": multiclass_calibration_error(
                torch.tensor(p), torch.tensor(truth), num_classes=10, n_bins=15
            ).item(),
            "long_tail_top1": np.average(predicted == truth, weights=weight),
            "long_tail_nll": log_loss(truth, p, labels=codes, sample_weight=weight),
        }
        found = metrics["experts"][expert]["seeds"]["0"][split]
        for name, value in expected.items():
            assert found[name]["value"] == pytest.approx(value, abs=1e-6), (expert, name)


def test_nothing_is_left_to_do_and_a_touch_changes_nothing(finished):
    assert NOTHING in finished.plan().stdout
    os.utime(finished.folder / "workflow" / "scripts" / "train.py")
    os.utime(finished.folder / "src" / "tailproof" / "losses.py")
    assert NOTHING in finished.plan().stdout


def test_a_failing_job_says_why_and_where_its_log_is(twin):
    recipe = {**TINY["recipe"], "batch_size": 5000, "drop_last": True}
    experts = {"only": {}}
    twin.write("config/experiments/tiny.yaml", {**TINY, "recipe": recipe, "experts": experts})
    weights = "results/tiny/experts/only/seed-0/model.safetensors"
    done = twin.snakemake(weights)
    assert done.returncode != 0
    log = "logs/tiny/train/only-0.log"
    assert "train failed: " in done.stderr and log in done.stderr
    for text in (done.stderr, (twin.folder / log).read_text()):
        assert re.search(r"recipe\.batch_size\b.*\b5000\b.*\btrain\b", text)
    assert not (twin.folder / weights).exists()


@pytest.mark.parametrize(
    ("change", "target", "message"),
    [
        ({"recipee": {}}, None, r"'recipee'.*'recipe'"),
        ({"data": {"source": {"name": "digit"}}}, None, r"'digit'.*'digits'"),
        (
            {},
            "results/tiny/experts/cross_entrpy/seed-0/history.csv",
            r"'cross_entrpy'.*'cross_entropy'",
        ),
        (
            {},
            "results/tinny/report/index.html",
            r"config/experiments/tinny\.yaml.*'tiny'",
        ),
    ],
)
def test_mistakes_in_the_configuration_are_told_in_a_sentence(project, change, target, message):
    project.write("config/experiments/tiny.yaml", {**TINY, **change})
    done = project.plan(*([target] if target else []))
    assert done.returncode != 0
    assert re.search(message, done.stdout + done.stderr)
    assert "Traceback" not in done.stdout + done.stderr


def test_words_that_only_look_like_targets_are_left_to_snakemake(twin):
    done = twin.plan("results/")
    assert "IndexError" not in done.stdout + done.stderr
    done = twin.snakemake("--report", "results/report.html")
    assert done.returncode == 0, done.stdout + done.stderr


def test_experts_that_are_the_same_are_warned_of(project):
    experts = {**TINY["experts"], "twin": {"loss": {"name": "logit_adjustment", "tau": 1}}}
    project.write("config/experiments/tiny.yaml", {**TINY, "experts": experts})
    done = project.plan()
    assert re.search("'balanced_softmax'.*'twin'", done.stdout + done.stderr)


def test_an_image_folder_of_colour_photographs_goes_through(photographs):
    folder = photographs.results / "experts/only/seed-0"
    config = json.loads((folder / "config.json").read_text())
    assert config["pretrained_cfg"]["input_size"] == [3, 16, 16]
    assert config["pretrained_cfg"]["label_names"] == ["cät", "dog", "emu & co"]
    assert "emu &amp; co" in (photographs.results / "report/index.html").read_text()


def test_only_infer_export_and_evaluate_open_test(finished, tmp_path):
    """Training, calibration and the report do without every file of the split test."""
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    removed = [path for path in results.rglob("test*") if path.name in ("test", "test.parquet")]
    for path in removed:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert len(removed) == 1 + 2 * len(EXPERTS)
    experiment = parse_experiment(TINY)
    folder = results / "experts" / EXPERTS[0] / "seed-0"
    before = (folder / "model.safetensors").read_bytes()
    manifest, recipe = results / "shards/manifest.json", experiment.experts[EXPERTS[0]]
    launch(manifest, recipe, 0, folder, tmp_path, "code", tmp_path / "train.log")
    assert (folder / "model.safetensors").read_bytes() == before
    raw = {name: folder / f"raw_logits/{name}.parquet" for name in ("calib", "tune")}
    calibrate(raw, experiment.calibration, folder / "again.json")
    assert (folder / "again.json").read_bytes() == (folder / "calibration.json").read_bytes()
    write_page("tiny", experiment, results, tmp_path / "index.html")
    page = (finished.results / "report" / "index.html").read_bytes()
    assert (tmp_path / "index.html").read_bytes() == page


def test_a_killed_workflow_goes_on_where_its_training_was(twin):
    """Ctrl-C, then SIGKILL of everything at once; the same command goes on to the same bytes.

    The log keeps the lines of all attempts.
    """
    recipe = {**TINY["recipe"], "epochs": 8, "checkpoint": {"steps": 2}}
    experts = {"only": {}}
    twin.write("config/experiments/tiny.yaml", {**TINY, "recipe": recipe, "experts": experts})
    target = "results/tiny/experts/only/seed-0/model.safetensors"
    folder = twin.folder / "results/tiny/experts/only/seed-0"
    log = twin.folder / "logs/tiny/train/only-0.log"
    for number in (signal.SIGINT, signal.SIGKILL):
        before = set((twin.folder / ".state").rglob("epoch-*.pt"))
        process = twin.start(target)
        while not set((twin.folder / ".state").rglob("epoch-*.pt")) - before:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, number)
        process.wait()
        assert not (folder / "model.safetensors").exists()
    first = log.read_text().splitlines()[:4]
    unlocked = twin.snakemake("--unlock")
    assert unlocked.returncode == 0, unlocked.stderr
    done = twin.snakemake(target, "--rerun-incomplete")
    assert done.returncode == 0, done.stdout + done.stderr
    killed = {name: (folder / name).read_bytes() for name in ("model.safetensors", "history.csv")}
    attempts = json.loads((folder / "training.json").read_text())["attempts"]
    assert [entry["reason"] for entry in attempts] == ["SIGINT", "killed", "finished"]
    lines = log.read_text().splitlines()
    assert lines[:4] == first
    assert sum(line.startswith(ATTEMPT) for line in lines) == 3
    assert any("resumes in epoch" in line for line in lines)

    shutil.rmtree(twin.folder / ".state")
    again = twin.snakemake(target, "--force")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(json.loads((folder / "training.json").read_text())["attempts"]) == 1
    assert killed == {name: (folder / name).read_bytes() for name in killed}


def test_how_a_run_is_carried_out_makes_nothing_stale(finished):
    changes = {"workers": 1, "checkpoint": {"steps": 7}, "cache_gb": 1.0}
    finished.write(
        "config/experiments/tiny.yaml", {**TINY, "recipe": {**TINY["recipe"], **changes}}
    )
    try:
        assert NOTHING in finished.plan().stdout
    finally:
        finished.write("config/experiments/tiny.yaml", TINY)
