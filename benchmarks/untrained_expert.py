"""The folder of an expert that nobody trained, for benchmarks of prediction."""

from pathlib import Path

import torch

from tailproof.digests import sha256_file
from tailproof.evaluation.deployment import Deployment, FittedRule
from tailproof.files import write_json
from tailproof.models import build_model, save_expert
from tailproof.models.preparation import data_config


def write_expert(folder: Path, model: str, mode: str, size: int, classes: int) -> Path:
    """Write the folder of an expert with random weights; return it.

    Args:
        folder: the folder.
        model: name of the model.
        mode: mode of the images, L or RGB.
        size: their side in pixels.
        classes: number of classes.
    """
    channels = 1 if mode == "L" else 3
    names = [str(number) for number in range(classes)]
    normalization = {"mean": [0.5] * channels, "std": [0.25] * channels}
    torch.manual_seed(0)
    save_expert(
        folder,
        build_model(model, classes=classes, channels=channels, options={}).eval(),
        model_args={},
        preprocessing=data_config([channels, size, size], "bicubic", normalization),
        class_names=names,
        facts={"target": "class", "heads": {"class": classes}},
    )
    weights = {"weights_sha256": sha256_file(folder / "model.safetensors")}
    write_json(folder / "calibration.json", {**weights, "temperature": 1.5, "other_ranks": {}})
    flat = {"shift": (0, 0), "gain": (1, 1), "multiplier": (0, 0)}
    Deployment(
        experiment="random",
        expert="random",
        seed=0,
        **weights,
        images=mode,
        tail=names[classes // 2 :],
        coverage=0.9,
        rules={"chow": [FittedRule(coverage=0.9, threshold=-0.5, **flat)]},
    ).write(folder / "deployment.json")
    return folder
