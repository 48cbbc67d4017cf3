"""The images on which an exported file is compared with its expert."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tailproof.data.shard_check import verify
from tailproof.loading import Split
from tailproof.loading.resizing import fit
from tailproof.output import report
from tailproof.predict.expert import Expert
from tailproof.predict.expert_folder import CONFIG
from tailproof.predict.image_files import find_images, read_images
from tailproof.predict.raw_logits import check_classes
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity
from tailproof.untrusted_text import printable

COMPARED = 200
"""Number of images."""

COMPARED_SPLIT, RANGES_SPLIT = "dev", "val"
"""The split that compares, and the one on which 8-bit ranges are measured; test is for neither."""


@dataclass(frozen=True)
class Images:
    """Prepared images.

    Attributes:
        source: where they are from, in words.
        pixels: uint8 or float32 [N, H, W, C].
    """

    source: str
    pixels: np.ndarray


def images_of(
    folder: str | Path, expert: Expert, places: list[str], split: str = COMPARED_SPLIT
) -> Images:
    """Return `COMPARED` images, or all if there are fewer, evenly spread over what there is.

    Args:
        folder: folder of the expert.
        expert: the expert.
        places: image files and folders; if empty, a split of the expert's experiment.
        split: the split.

    Raises:
        TailproofError: the experiment is not at hand, or no image can be read.
    """
    if places:
        return _given(expert, places)
    manifest = Path(folder).resolve().parents[2] / "shards" / "manifest.json"
    if not manifest.is_file():
        raise TailproofError(
            f"{folder} is a copy outside of its experiment, so that there are no images of "
            f"{COMPARED_SPLIT} to compare the file with the expert: name images with --images, or "
            "give results/NAME/experts/EXPERT/seed-S"
        )
    verify(manifest, split)
    rows = Split(manifest, split)
    sizes = {rank: len(names) for rank, names in expert.classes.items()}
    names = [name for of_rank in expert.classes.values() for name in of_rank]
    check_classes(folder, rows.manifest, sizes, names)
    chosen = _spread(len(rows))
    rows.keep(chosen)
    _, height, width = expert.shape
    side = height if height == width else None
    pixels = [fit(rows.image(row), side, expert.interpolation) for row in chosen.tolist()]
    return Images(f"{split} of {expert.deployment.experiment}", np.stack(pixels))


def _given(expert: Expert, places: list[str]) -> Images:
    files = list(find_images(places, expert.deployment.images).files)
    files = [files[index] for index in _spread(len(files))]
    pixels = []
    for _, image in read_images(files, expert, COMPARED):
        if isinstance(image, TailproofError):
            report(printable(image))
        else:
            pixels.append(image)
    if not pixels:
        raise TailproofError(
            f"--images has {quantity(len(files), 'file')}, none of which can be "
            f"read as {CONFIG} asks: name other images"
        )
    return Images("given images", np.stack(pixels))


def _spread(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, COMPARED)).round().astype(int))
