"""How far images are from all training images, in the space of stored features."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tailproof.features.concatenation import open_features
from tailproof.features.store import FeatureSplit

MOST = 2**16
"""Training images that are compared at most; of more, evenly spaced ones."""

BLOCK = 2**24  # elements of a block of similarities
FAR = 3.0
"""An image is far if it is beyond the median by this many robust standard deviations."""


def nearest_distances(
    features: Sequence[Path], manifest: Path, splits: Iterable[str]
) -> dict[str, np.ndarray]:
    """Return the distance of each image of some splits to the nearest training image.

    Features have length 1 first (Sun et al. 2022, "Out-of-distribution detection with deep nearest
    neighbors"). The nearest image alone counts, because a rare class may have no second one.

    Args:
        features: the folder of the features of each backbone.
        manifest: shards/manifest.json.
        splits: the splits; none of them is train.

    Raises:
        TailproofError: the features are missing, damaged, or of other shards.
    """
    train = _unit(open_features(features, manifest, "train"))
    train = train[np.linspace(0, len(train) - 1, min(len(train), MOST)).astype(int)]
    rows = max(1, BLOCK // len(train))
    distances = {}
    for split in splits:
        images = _unit(open_features(features, manifest, split))
        nearest = [
            (images[start : start + rows] @ train.T).max(axis=1)
            for start in range(0, len(images), rows)
        ]
        distances[split] = np.sqrt(np.maximum(2 - 2 * np.concatenate(nearest), 0))
    return distances


def _unit(split: FeatureSplit) -> np.ndarray:
    """Return the features of the first view, [N, width], each of length 1."""
    values = split.read_all()[:, 0].astype(np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def how_far(distances: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return 0 for images that are not far, and towards 1 the farther they are, [N].

    Args:
        distances: of the images.
        reference: of images like those that the experts will see; their median and robust standard
            deviation decide. They are of logarithms, because distances are skewed.
    """
    smallest = np.finfo(np.float32).tiny
    logs, known = (np.log(np.maximum(values, smallest)) for values in (distances, reference))
    centre = np.median(known)
    spread = 1.4826 * np.median(np.abs(known - centre))
    beyond = (logs - centre) / max(spread, smallest)
    return np.where(beyond > FAR, 1 - FAR / np.maximum(beyond, FAR), 0.0)
