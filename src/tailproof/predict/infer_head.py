"""The stage infer for a head: raw logits on all six splits from stored features."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from tailproof.config.splits import SPLITS
from tailproof.features.concatenation import open_features
from tailproof.predict.raw_logits import write_raw_logits
from tailproof.predict.trained_head import TrainedHead
from tailproof.runtime.progress import track


def infer_head(
    expert: str | Path,
    name: str,
    seed: int,
    manifest: str | Path,
    features: Sequence[str | Path],
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
        features: the folder of the features of each backbone.
        output: folder for the six files.
        threads: CPU threads.
        digests: SHA-256 of inputs that were already hashed, by path.

    Raises:
        TailproofError: a logit is not finite, the features are not those of the shards, or the
            expert was trained on other classes.
    """
    torch.set_num_threads(threads)
    splits = [open_features(features, manifest, split) for split in SPLITS]
    head = TrainedHead.open(expert, splits[0].width)
    facts = head.facts(name, seed, digests)
    for split in track(splits, f"infer {name} {seed}"):
        logits = (values for _, values in head.blocks(split))
        write_raw_logits(Path(output), split, logits, head.heads, facts)
