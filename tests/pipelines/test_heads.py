"""Heads on features of a frozen backbone, from the data to the page, by the real pipeline."""

import csv
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import softmax

from tailproof.data.logits import Logits
from tailproof.files import read_json
from tailproof.loading import Split
from tailproof.models import build_model

FURTHER = {"name": "cifar_resnet20", "weights": "further.safetensors", "size": 20}

EXPERIMENT = {
    "title": "Heads",
    "data": {"source": {"name": "digits"}, "long_tail": {"kind": "exponential", "imbalance": 10}},
    "recipe": {
        "model": {"name": "test_resnet", "weights": "start.safetensors"},
        "features": {"size": 32, "precision": "fp32"},
        "epochs": 4,
        "export": "best",
    },
    "experts": {
        "softmax": {"loss": {"name": "balanced_softmax"}},
        "cosine": {"head": {"kind": "cosine"}},
        "both": {"features": {"concat": [FURTHER]}},
    },
    "evaluation": {"many_shot": 50, "few_shot": 20, "bootstrap": 100},
}


@pytest.fixture
def heads(project):
    torch.manual_seed(0)
    for name, file in (("test_resnet", "start"), (FURTHER["name"], "further")):
        network = build_model(name, classes=4, channels=3, options={})
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        save_file(network.state_dict(), project.folder / f"{file}.safetensors")
    project.write("config/experiments/tiny.yaml", EXPERIMENT)
    return project


def predicted(project, folder) -> np.ndarray:
    """The probabilities that `tailproof predict` prints for the images of test."""
    split = Split(project.results / "shards" / "manifest.json", "test")
    images = project.folder / "images"
    images.mkdir(exist_ok=True)
    for row in range(len(split)):
        (images / f"{row:04d}.png").write_bytes(split.encoded(row))
    done = project.tailproof("predict", "--csv", str(folder), "images")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    columns = [name for name in rows[0] if name.startswith("class=")]
    return np.array([[float(row[name]) for name in columns] for row in rows])


def check_bundle(project) -> None:
    """The ensemble in one folder has one backbone, the evaluated probabilities, and a record."""
    done = project.tailproof("bundle", "tiny")
    assert done.returncode == 0, done.stderr
    folder = project.results / "bundles" / "stacked" / "seed-0"
    experts = read_json(folder / "bundle.json")["experts"]
    assert [expert["backbone"] for expert in experts.values()] == [1, 1, None]
    logits = [
        Logits.read(
            project.results / "experts" / name / "seed-0" / "logits" / "test.parquet"
        ).values
        for name in experts
    ]
    weights = [expert["weight"] for expert in experts.values()]
    expected = softmax(np.tensordot(weights, np.stack(logits), 1), axis=1)
    assert np.abs(predicted(project, folder) - expected).max() < 1e-5
    audited = project.tailproof("audit", "tiny")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    traced = project.tailproof("lineage", str(folder / "model.safetensors"))
    assert traced.returncode == 0 and "bundle" in traced.stdout
    for wrong in (["--method", "product"], ["--seed", "9"]):
        done = project.tailproof("bundle", "tiny", *wrong)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    (folder / "guarantees.json").write_text("{}")
    assert project.tailproof("audit", "tiny").returncode == 1
    shutil.rmtree(folder.parents[1])
    shutil.rmtree(project.results / "provenance" / "bundle")


def check_several_backbones(project) -> None:
    """A head on two backbones names both of their weights, and its folder works without Tailproof's
    commands: example.py, and the same answers from an ONNX file."""
    folder = project.results / "experts" / "both" / "seed-0"
    card = (folder / "README.md").read_text()
    assert "start.safetensors" in card and "further.safetensors" in card
    traced = project.tailproof("lineage", str(folder / "model.safetensors"))
    assert "start.safetensors" in traced.stdout and "further.safetensors" in traced.stdout
    image = project.folder / "images" / "0000.png"
    done = subprocess.run(
        [sys.executable, str(folder / "example.py"), str(image)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    best, _ = done.stdout.splitlines()[0].strip("()").split(", ", 1)
    assert float(best) == pytest.approx(predicted(project, folder)[0].max(), abs=1e-5)
    done = project.tailproof("export", str(folder), "--onnx", "both.onnx")
    assert done.returncode == 0, done.stderr
    split = Split(project.results / "shards" / "manifest.json", "train")
    table = [f"{name},{label}" for name, label in zip(split.sample_ids, "0123456789", strict=False)]
    (project.folder / "verified.csv").write_text("\n".join(["sample_id,label", *table, ""]))
    done = project.tailproof("retrain", str(folder), "verified.csv", "--output", "again")
    assert done.returncode == 0, done.stderr


def test_heads_go_from_the_data_to_the_page_and_a_new_loss_embeds_nothing(heads):
    done = heads.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_json(heads.results / "audit.json")["passed"]
    for expert in EXPERIMENT["experts"]:
        folder = heads.results / "experts" / expert / "seed-0"
        raw = Logits.read(folder / "raw_logits" / "test.parquet").values
        temperature = read_json(folder / "calibration.json")["temperature"]
        expected = softmax(raw / temperature, axis=1)
        assert np.abs(predicted(heads, folder) - expected).max() < 1e-4
        card = (folder / "README.md").read_text()
        assert "start.safetensors" in card and "frozen features" in card
    check_several_backbones(heads)
    check_bundle(heads)
    timing = read_json(heads.results / "preflight_timing.json")
    assert timing["findings"] == [] and all("run" in row for row in timing["experts"].values())

    changed = EXPERIMENT | {
        "experts": EXPERIMENT["experts"]
        | {
            "softmax": {"loss": {"name": "focal"}},
            "three": {"features": {"concat": [FURTHER, FURTHER | {"size": 24}]}},
        },
        "sweep": {
            "points": [{"name": kind, "head.kind": kind} for kind in ("linear", "mlp")],
            "halving": {"rungs": [2]},
        },
    }
    heads.write("config/experiments/tiny.yaml", changed)
    planned = heads.plan()
    planned = planned.stdout + planned.stderr
    for job in ("train softmax", "infer with softmax", "train linear", "infer with winner"):
        assert job in planned
    for job in ("train cosine", "infer with cosine", "train both"):
        assert job not in planned
    assert planned.count("embed part") == 1 and "train three" in planned
    done = heads.snakemake("results/tiny/experts/winner/seed-0/raw_logits/test.parquet")
    assert done.returncode == 0, done.stdout + done.stderr

    split = Split(heads.results / "shards" / "manifest.json", "train")
    table = [f"{name},{label}" for name, label in zip(split.sample_ids, "0123456789", strict=False)]
    (heads.folder / "labels.csv").write_text("\n".join(["sample_id,label", *table, ""]))
    winner = "results/tiny/experts/winner/seed-0"  # a copy, whose record leads to the training
    done = heads.tailproof("retrain", winner, "labels.csv", "--output", "new")
    assert done.returncode == 0, done.stderr
    assert read_json(heads.folder / "new" / "retrained.json")["expert"] == winner
