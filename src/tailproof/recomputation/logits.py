"""Computes the logits of some images again, with the network in the folder of an expert."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tailproof.config.splits import SPLITS
from tailproof.data.images import decode
from tailproof.data.logits import LogitsFile
from tailproof.loading import Split
from tailproof.predict.classify import read_batches
from tailproof.predict.image_inputs import GivenImage
from tailproof.predict.loaded_expert import LoadedExpert, load_expert
from tailproof.project import project_paths
from tailproof.runtime.records import Record

IMAGES = 16
"""Images of each split, evenly spaced."""

TOLERANCE = 0.05
"""Of the largest logit of an image. Features may be stored in half precision."""


def other_logits(record: Record) -> Iterator[str]:
    """Compare raw logits of some images with those that the network gives.

    Args:
        record: of a job of the stage infer, whose folder is complete.

    Raises:
        TailproofError: the folder of the expert is damaged.
    """
    paths = {Path(file.path).stem: file.path for file in record.outputs}
    weights = next(file.path for file in record.inputs if file.path.endswith("model.safetensors"))
    manifest = project_paths().experiment(record.experiment) / "shards" / "manifest.json"
    expert = load_expert(Path(weights).parent)
    for name in SPLITS:
        split, stated = Split(manifest, name), LogitsFile.open(paths[name])
        rows = np.unique(np.linspace(0, len(split) - 1, min(IMAGES, len(split))).astype(int))
        computed = _computed(expert, split, rows)
        recorded = stated.take(expert.target, rows)
        limit = TOLERANCE * np.maximum(1, np.abs(computed).max(axis=1))
        wrong = np.abs(computed - recorded).max(axis=1) > limit
        if wrong.any():
            yield (
                f"{paths[name]}: the logits of {int(wrong.sum())} of {len(rows)} images are not "
                f"those that {weights} gives; the first is {split.sample_ids[rows[wrong][0]]}"
            )


def _computed(expert: LoadedExpert, split: Split, rows: np.ndarray) -> np.ndarray:
    """Return the raw logits of the target for some rows of a split, [n, C]."""
    mode = split.manifest["mode"]
    images = [GivenImage(split.sample_ids[row], decode(split.encoded(row), mode)) for row in rows]
    ((name, outputs),) = expert.posterior.outputs.items()
    parts = []
    for _, raw, broken in read_batches(expert, images):
        for error in broken.values():
            raise error
        parts.append(raw[name][:, outputs.columns[expert.target]])
    return np.concatenate(parts)
