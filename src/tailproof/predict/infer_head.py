"""The stage infer for a head: raw logits on all six splits from stored features."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from tailproof.config.splits import SPLITS
from tailproof.digests import known_sha256
from tailproof.features.head_layers import build_head
from tailproof.features.store import FeatureSplit
from tailproof.files import read_json
from tailproof.predict.raw_logits import check_classes, write_raw_logits
from tailproof.runtime.progress import track


def infer_head(
    expert: str | Path,
    name: str,
    seed: int,
    manifest: str | Path,
    features: str | Path,
    output: str | Path,
    threads: int,
    digests: Mapping[str, str],
) -> None:
    """Write the raw float32 logits of every split to ``OUTPUT/SPLIT.parquet``.

    The head is that of the merged network, so that images give the same logits.

    Args:
        expert: folder of the trained expert.
        name: name of the expert.
        seed: seed of the expert.
        manifest: shards/manifest.json.
        features: the folder of the features.
        output: folder for the six files.
        threads: CPU threads.
        digests: SHA-256 of inputs that were already hashed, by path.

    Raises:
        TailproofError: a logit is not finite, the features are not those of the shards, or the
            expert was trained on other classes.
    """
    torch.set_num_threads(threads)
    config = read_json(Path(expert) / "config.json")
    weights = Path(expert) / "model.safetensors"
    described = config["tailproof"]
    heads, names = described["heads"], config["pretrained_cfg"]["label_names"]
    facts = {
        "expert": name,
        "seed": seed,
        "target": described["target"],
        "weights_sha256": known_sha256(weights, digests),
    }
    splits = [FeatureSplit(features, manifest, split) for split in SPLITS]
    head = open_head(weights, config, splits[0].width)
    for split in track(splits, f"infer {name} {seed}"):
        check_classes(expert, split.manifest, heads, names)
        write_raw_logits(Path(output), split, head_logits(head, split), heads, facts)


@torch.inference_mode()
def head_logits(head: nn.Module, split: FeatureSplit) -> Iterator[np.ndarray]:
    """Yield the raw logits of a head for a split in blocks, float32 [n, all classes]."""
    for _, block in split.blocks():
        yield head(torch.from_numpy(block[:, 0]).float()).numpy()


def open_head(weights: Path, config: dict, width: int) -> nn.Module:
    """Return the head of a merged network, without its backbone.

    Args:
        weights: model.safetensors.
        config: config.json of the same folder.
        width: number of features.
    """
    args, outputs = config["model_args"], config["num_classes"]
    kind, options = args.get("head", "linear"), args.get("head_options")
    prefix = f"{config['pretrained_cfg']['classifier']}."
    with safe_open(weights, "pt") as file:
        tensors = {
            key.removeprefix(prefix): file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118 - no mapping
            if key.startswith(prefix)
        }
    head = build_head(kind, width, outputs, options)
    head.load_state_dict(tensors)
    return head.eval()
