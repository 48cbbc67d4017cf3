"""The stage score_unknown: how well an expert knows images of tune, test and unknown classes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from tailproof.config.splits import SCORED_SPLITS, UNKNOWN_SPLITS
from tailproof.data.shard_check import verify
from tailproof.loading import Split
from tailproof.predict.classifier_inputs import with_features
from tailproof.predict.trained_network import TrainedNetwork
from tailproof.predict.unknown_scores_file import (
    Computed,
    splits_to_score,
    write_unknown_scores,
)
from tailproof.runtime.progress import track


@torch.inference_mode()
def score_unknown(
    expert: str | Path,
    name: str,
    seed: int,
    manifest: str | Path,
    unknown: str | Path | None,
    threads: int,
    memory_budget: float,
    workers: int,
    digests: Mapping[str, str],
) -> None:
    """Write `SCORED` and `FILE` into the folder of an expert that is a network.

    Args:
        expert: folder of the trained expert.
        name: name of the expert.
        seed: seed of the expert.
        manifest: shards/manifest.json.
        unknown: shards/unknown.json; None without unknown images.
        threads: CPU threads.
        memory_budget: bytes available for a decoded split.
        workers: loader processes.
        digests: SHA-256 of inputs that were already hashed, by path.

    Raises:
        TailproofError: a number is not finite, a shard does not match its manifest, or the expert
            was trained on other classes.
    """
    verify(manifest, *SCORED_SPLITS, digests=digests)
    if unknown:
        verify(unknown, *UNKNOWN_SPLITS, digests=digests)
    network = TrainedNetwork.open(expert, threads)

    def blocks(split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for inputs in network.inputs(split, memory_budget, workers):
            logits, features = with_features(network.model, inputs)
            yield logits.float().cpu().numpy(), features.float().cpu().numpy()

    places = splits_to_score(manifest, unknown).items()
    splits = (Split(place, split) for split, place in track(list(places), f"score {name}"))
    computed = (Computed.of(split, blocks(split)) for split in splits)
    write_unknown_scores(network, network.facts(name, seed, digests), computed)
