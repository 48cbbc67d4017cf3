"""Experts that nobody trained: a network of random weights in a folder that is complete."""

from pathlib import Path

import pytest
import torch

from tailproof.digests import sha256_file
from tailproof.evaluation.deployment import Deployment, FittedRule
from tailproof.files import write_json
from tailproof.models import build_model, save_expert

CHOW = [
    FittedRule(coverage=cover, shift=(0, 0), gain=(1, 1), multiplier=(0, 0), threshold=threshold)
    for cover, threshold in ((0.5, -0.1), (1.0, None))
]


def make_expert(
    folder: Path,
    *,
    mode: str = "RGB",
    shape: tuple[int, int, int] = (3, 32, 32),
    ranks: dict[str, list[str]] | None = None,
    model: str = "test_resnet",
) -> Path:
    """Write a folder that `tailproof predict` takes; the last rank is the target."""
    ranks = ranks or {"class": ["a", "b", "c"]}
    names = [name for own in ranks.values() for name in own]
    torch.manual_seed(0)
    network = build_model(model, classes=len(names), channels=shape[0], options={})
    *others, target = ranks
    save_expert(
        folder,
        network.eval(),
        model_args={},
        preprocessing={
            "input_size": list(shape),
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": [0.4] * shape[0],
            "std": [0.2] * shape[0],
        },
        class_names=names,
        facts={"target": target, "heads": {rank: len(own) for rank, own in ranks.items()}},
    )
    weights = {"weights_sha256": sha256_file(folder / "model.safetensors")}
    temperatures = {rank: {"temperature": 2.0 + number} for number, rank in enumerate(others)}
    write_json(
        folder / "calibration.json", {**weights, "temperature": 1.5, "other_ranks": temperatures}
    )
    Deployment(
        experiment="drawn",
        expert="drawn",
        seed=0,
        **weights,
        images=mode,
        tail=["c"],
        coverage=0.5,
        rules={"chow": CHOW},
    ).write(folder / "deployment.json")
    return folder


@pytest.fixture(scope="session")
def colour_expert(tmp_path_factory) -> Path:
    """An expert of three classes for colour images of 32 pixels."""
    return make_expert(tmp_path_factory.mktemp("colour"))
