"""The stage infer: raw logits of an expert on all six splits."""

from collections.abc import Mapping
from pathlib import Path

import torch

from tailproof.config.splits import SPLITS
from tailproof.data.shard_check import verify
from tailproof.digests import known_sha256
from tailproof.loading import Loader, Split
from tailproof.models import load_expert
from tailproof.predict.raw_logits import check_classes, write_raw_logits
from tailproof.runtime.process import tune_malloc
from tailproof.runtime.progress import track

BATCH_SIZE = 256


@torch.inference_mode()
def infer(
    expert: str | Path,
    name: str,
    seed: int,
    manifest: str | Path,
    output: str | Path,
    threads: int,
    memory_budget: float,
    workers: int,
    digests: Mapping[str, str] | None = None,
) -> None:
    """Write the raw float32 logits of every split to ``OUTPUT/SPLIT.parquet``.

    The preprocessing is that of the expert's config.json, which is stored with the weights.

    Args:
        expert: folder of the trained expert.
        name: name of the expert.
        seed: seed of the expert.
        manifest: shards/manifest.json.
        output: folder for the six files.
        threads: CPU threads.
        memory_budget: bytes available for a decoded split.
        workers: loader processes.
        digests: SHA-256 of inputs that were already hashed, by path.

    Raises:
        TailproofError: a logit is not finite, a shard does not match the manifest, or the expert
            was trained on other classes.
    """
    digests = digests or {}
    verify(manifest, *SPLITS, digests=digests)
    torch.set_num_threads(threads)
    tune_malloc()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, config = load_expert(expert)
    model = model.to(device, memory_format=torch.channels_last)
    weights = known_sha256(Path(expert) / "model.safetensors", digests)
    prepared = config.pretrained_cfg
    heads, target = config.tailproof.heads, config.tailproof.target
    for split_name in track(SPLITS, f"infer {name} {seed}"):
        split = Split(manifest, split_name)
        check_classes(expert, split.manifest, heads, prepared.label_names)
        _, height, width = prepared.input_size
        loader = Loader(
            split,
            batch_size=BATCH_SIZE,
            image_size=height if height == width else None,
            normalization={"mean": prepared.mean, "std": prepared.std},
            interpolation=prepared.interpolation,
            workers=workers,
            memory_budget=memory_budget,
            device=device,
        )
        logits = (model(batch.inputs).float().cpu().numpy() for batch in loader.epoch(1))
        facts = {"expert": name, "seed": seed, "target": target, "weights_sha256": weights}
        write_raw_logits(Path(output), split, logits, heads, facts)
