"""The stage score_unknown for a head, from stored features."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from tailproof.features.concatenation import open_features
from tailproof.predict.trained_head import TrainedHead
from tailproof.predict.unknown_scores_file import (
    Computed,
    splits_to_score,
    write_unknown_scores,
)
from tailproof.runtime.progress import track


def score_unknown_head(
    expert: str | Path,
    name: str,
    seed: int,
    manifest: str | Path,
    features: Sequence[str | Path],
    unknown: str | Path | None,
    unknown_features: Sequence[str | Path],
    threads: int,
    digests: Mapping[str, str],
) -> None:
    """Write `SCORED` and `FILE` into the folder of an expert that is a head.

    Args:
        expert: folder of the trained expert.
        name: name of the expert.
        seed: seed of the expert.
        manifest: shards/manifest.json.
        features: the folder of the features of the six splits, of each backbone.
        unknown: shards/unknown.json; None without unknown images.
        unknown_features: the folder of the features of the unknown images, of each backbone.
        threads: CPU threads.
        digests: SHA-256 of inputs that were already hashed, by path.

    Raises:
        TailproofError: a number is not finite, the features are not those of the shards, or the
            expert was trained on other classes.
    """
    torch.set_num_threads(threads)
    others = (unknown_features, unknown) if unknown else None
    places = splits_to_score((features, manifest), others).items()
    splits = [open_features(folders, listing, split) for split, (folders, listing) in places]
    head = TrainedHead.open(expert, splits[0].width)
    computed = (
        Computed.of(
            split,
            ((logits, block.astype(np.float32)) for block, logits in head.blocks(split)),
        )
        for split in track(splits, f"score {name}")
    )
    write_unknown_scores(head, head.facts(name, seed, digests), computed)
