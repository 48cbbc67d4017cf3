"""Experts that nobody trained, for bundles: heads on a shared backbone, and whole networks."""

from pathlib import Path

import numpy as np
import torch

from tailproof.digests import sha256_file
from tailproof.features.backbone_with_head import NAME, NAME_OF_SEVERAL
from tailproof.files import read_json, write_json
from tailproof.models import build_model, save_expert

CLASSES = ["a", "b", "c"]
SHAPE = (3, 32, 32)
COSINE = {
    "backbone": "test_resnet",
    "layers": ["penultimate"],
    "head": "cosine",
    "width": 96,
    "backbone_options": {},
    "head_options": {"scale": 8.0},
}


def prepared_to(side: int) -> dict:
    """timm's data configuration for images of a size."""
    return {
        "input_size": [3, side, side],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.4] * 3,
        "std": [0.2] * 3,
    }


def write_expert(
    folder: Path, network, *, args=None, head: bool, side: int = 32, inputs: list | None = None
) -> Path:
    """Write what training and calibration leave in the folder of an expert."""
    save_expert(
        folder,
        network.eval(),
        model_args=args or {},
        preprocessing=prepared_to(side),
        class_names=CLASSES,
        facts={
            "target": "class",
            "heads": {"class": len(CLASSES)},
            "recipe": {"features": {"size": side} if head else None},
            **({"inputs": inputs} if inputs else {}),
        },
    )
    digest = sha256_file(folder / "model.safetensors")
    temperature = 0.5 + len(folder.name) / 10
    write_json(
        folder / "calibration.json",
        {"temperature": temperature, "weights_sha256": digest, "other_ranks": {}},
    )
    return folder


def write_experts(root: Path) -> dict[str, Path]:
    """A linear and a cosine head on one backbone, and two whole networks of another size."""
    torch.manual_seed(0)
    linear = build_model("test_resnet", classes=3, channels=3, options={})
    cosine = build_model(NAME, classes=3, channels=3, options=COSINE)
    backbone = {name: tensor for name, tensor in linear.state_dict().items() if "fc." not in name}
    cosine.backbone.load_state_dict(backbone)
    whole = [build_model("test_resnet", classes=3, channels=3, options={}) for _ in range(2)]
    return {
        "linear": write_expert(root / "linear", linear, head=True),
        "cosine": write_expert(root / "cosine", cosine, args=COSINE, head=True),
        "network": write_expert(root / "network", whole[0], head=False),
        "small.1": write_expert(root / "small.1", whole[1], head=False, side=24),
    }


def write_heads_on_several(root: Path) -> dict[str, Path]:
    """A linear and a cosine head on one network at two sizes."""
    torch.manual_seed(0)
    one = {"name": "test_resnet", "layers": ["penultimate"], "options": {}}
    options = {"linear": {}, "cosine": {"scale": 8.0}}
    experts, backbones = {}, None
    for head, own in options.items():
        args = {"backbones": [one, one], "head": head, "width": 192, "head_options": own}
        network = build_model(NAME_OF_SEVERAL, classes=3, channels=3, options=args)
        backbones = backbones or network.backbones.state_dict()
        network.backbones.load_state_dict(backbones)
        inputs = [prepared_to(32), prepared_to(24)]
        experts[head] = write_expert(root / head, network, args=args, head=True, inputs=inputs)
    return experts


def pictures(count: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return list(draw.integers(0, 256, (count, *SHAPE[1:], 3), np.uint8))


def temperatures(experts: dict[str, Path]) -> dict[str, float]:
    return {
        name: read_json(folder / "calibration.json")["temperature"]
        for name, folder in experts.items()
    }
