"""Runs the stage embed on one part of the digits, as its script does."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from tailproof.config.frozen_backbone import Features
from tailproof.config.model import Model
from tailproof.config.splits import SPLITS
from tailproof.features.embed import embed
from tailproof.features.store import part_path
from tailproof.models import build_model
from tailproof.models.fetch import fetch
from tailproof.project import project_paths

MODEL = Model(name="cifar_resnet20", weights="start.safetensors")


def fetch_weights(model: Model, seed: int = 0) -> None:
    """Fetch random weights into the project in the current folder."""
    torch.manual_seed(seed)
    network = build_model(model.name, classes=4, channels=3, options={})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    save_file(network.state_dict(), model.weights)
    file = project_paths().weights(model.weights_key)
    file.parent.mkdir(exist_ok=True)
    fetch(model.name, model.weights, file, file.with_suffix(".json"))


def run_embed(
    manifest: Path,
    folder: Path,
    features: Features,
    *,
    model: Model = MODEL,
    normalize: bool | str | None = None,
    part: int = 0,
    threads: int = 1,
    states: str = "states",
) -> dict[str, Path]:
    """Embed one part of all splits; return the file of each split."""
    outputs = {split: part_path(folder, split, part) for split in SPLITS}
    shards = {split: manifest.parent / split / f"part-{part:05d}.parquet" for split in SPLITS}
    embed(
        model,
        features,
        normalize,
        {split: str(path) for split, path in shards.items()},
        {split: str(path.with_suffix(".json")) for split, path in shards.items()},
        [str(path) for path in sorted((manifest.parent / "train").glob("*.json"))],
        {split: str(path) for split, path in outputs.items()},
        Path(states),
        part=part,
        threads=threads,
        code="code",
        digests={},
    )
    return outputs
