"""Heads on features of a frozen backbone, from the data to the page, by the real pipeline."""

import csv
import io

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import softmax

from tailproof.data.logits import Logits
from tailproof.files import read_json
from tailproof.loading import Split
from tailproof.models import build_model

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
        "ridge": {"head": {"kind": "ridge"}},
    },
    "sweep": {
        "points": [
            {"name": "slow", "head.kind": "cosine", "optimizer.learning_rate": 1e-3},
            {"name": "fast", "head.kind": "cosine", "optimizer.learning_rate": 1e-2},
        ],
        "halving": {"rungs": [2]},
    },
    "evaluation": {"many_shot": 50, "few_shot": 20, "bootstrap": 100},
}


@pytest.fixture
def heads(project):
    torch.manual_seed(0)
    network = build_model("test_resnet", classes=4, channels=3, options={})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    save_file(network.state_dict(), project.folder / "start.safetensors")
    project.write("config/experiments/tiny.yaml", EXPERIMENT)
    return project


def predicted(project, expert: str) -> np.ndarray:
    """The probabilities that `tailproof predict` prints for the images of test."""
    split = Split(project.results / "shards" / "manifest.json", "test")
    images = project.folder / "images"
    images.mkdir(exist_ok=True)
    for row in range(len(split)):
        (images / f"{row:04d}.png").write_bytes(split.encoded(row))
    folder = f"results/tiny/experts/{expert}/seed-0"
    done = project.tailproof("predict", "--csv", folder, "images")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    columns = [name for name in rows[0] if name.startswith("class=")]
    return np.array([[float(row[name]) for name in columns] for row in rows])


def test_heads_go_from_the_data_to_the_page_and_a_new_loss_embeds_nothing(heads):
    heads.run_all()
    assert read_json(heads.results / "audit.json")["passed"]
    for expert in ("softmax", "ridge", "winner"):
        folder = heads.results / "experts" / expert / "seed-0"
        raw = Logits.read(folder / "raw_logits" / "test.parquet").values
        temperature = read_json(folder / "calibration.json")["temperature"]
        expected = softmax(raw / temperature, axis=1)
        assert np.abs(predicted(heads, expert) - expected).max() < 1e-4
        card = (folder / "README.md").read_text()
        assert "test_resnet" in card and "start.safetensors" in card and "features" in card
    timing = read_json(heads.results / "preflight_timing.json")
    assert timing["findings"] == [] and all("run" in row for row in timing["experts"].values())
    standing = read_json(heads.results / "experts" / "winner" / "rung-1.json")
    assert [place["point"] for place in standing["places"]] == ["fast"]

    EXPERIMENT["experts"]["softmax"]["loss"] = {"name": "focal"}
    heads.write("config/experiments/tiny.yaml", EXPERIMENT)
    planned = heads.plan().stdout
    assert "train softmax" in planned
    assert (
        "embed" not in planned
        and "train ridge" not in planned
        and "infer with ridge" not in (planned)
    )
