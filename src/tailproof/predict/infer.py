"""The stage infer: raw logits of an expert on all six splits."""

from collections.abc import Mapping
from pathlib import Path

import torch

from tailproof.config.splits import SPLITS
from tailproof.data.shard_check import verify
from tailproof.loading import Split
from tailproof.predict.raw_logits import write_raw_logits
from tailproof.predict.trained_network import TrainedNetwork
from tailproof.runtime.progress import track


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
    network = TrainedNetwork.open(expert, threads)
    facts = network.facts(name, seed, digests)
    for split_name in track(SPLITS, f"infer {name} {seed}"):
        split = Split(manifest, split_name)
        batches = network.inputs(split, memory_budget, workers)
        logits = (network.model(inputs).float().cpu().numpy() for inputs in batches)
        write_raw_logits(Path(output), split, logits, network.heads, facts)
