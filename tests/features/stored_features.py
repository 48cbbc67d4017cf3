"""Features of the digits in files, by a small network with random weights."""

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

PARTS = 2  # of each split of the digits


def fetch_random(
    name: str,
    classes: int = 4,
    options: dict | None = None,
    weights: str = "start.safetensors",
) -> Model:
    """Fetch random weights into the project in the current folder."""
    model = Model(name=name, weights=weights, options=options or {})
    torch.manual_seed(0)
    network = build_model(name, classes=classes, channels=3, options=model.options)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    save_file(network.state_dict(), model.weights)
    fetch_weights(model)
    return model


def fetch_weights(model: Model) -> None:
    file = project_paths().weights(model.weights_key)
    file.parent.mkdir(exist_ok=True)
    fetch(model.name, model.weights, file, file.with_suffix(".json"))


def embed_digits(
    manifest: Path, folder: str, model: Model, *, normalize: bool | None = None, **features
) -> None:
    """Write the features of all splits to a folder."""
    for part in range(PARTS):
        shards = {split: manifest.parent / split / f"part-{part:05d}.parquet" for split in SPLITS}
        embed(
            model,
            Features(**{"precision": "fp32"} | features),
            normalize,
            {split: str(path) for split, path in shards.items()},
            {split: str(path.with_suffix(".json")) for split, path in shards.items()},
            [],
            {split: str(part_path(folder, split, part)) for split in SPLITS},
            Path(folder, "states"),
            part=part,
            threads=1,
            code="code",
            digests={},
        )
