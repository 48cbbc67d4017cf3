"""The images on which an exported file is compared with its expert."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tailproof.data.image_files import find_images
from tailproof.data.shard_check import verify
from tailproof.loading import Split
from tailproof.output import report
from tailproof.predict.image_files import fitted, prepare_image
from tailproof.predict.image_inputs import GivenImage
from tailproof.predict.loaded_expert import LoadedExpert
from tailproof.predict.raw_logits import check_classes
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable

COMPARED = 200
"""Number of images."""

BATCH_SIZE = 32

COMPARED_SPLIT, RANGES_SPLIT = "dev", "val"
"""The split that compares, and the one on which 8-bit ranges are measured; test is for neither."""


@dataclass(frozen=True)
class Images:
    """Prepared images.

    Attributes:
        source: where they are from, in words.
        prepared: uint8 or float32 [H, W, C] of each image, for each preparation of the expert.
    """

    source: str
    prepared: list[tuple[np.ndarray, ...]]

    def batches(self) -> Iterator[list[tuple[np.ndarray, ...]]]:
        """Yield the images in batches."""
        for start in range(0, len(self.prepared), BATCH_SIZE):
            yield self.prepared[start : start + BATCH_SIZE]

    def feeds(self, names: list[str]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the inputs of a file in batches.

        Args:
            names: the names of the inputs.
        """
        for batch in self.batches():
            columns = zip(*batch, strict=True)
            yield {name: np.stack(column) for name, column in zip(names, columns, strict=True)}


def images_of(
    folder: str | Path, expert: LoadedExpert, places: list[str], split: str = COMPARED_SPLIT
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
            f"{folder} is a copy outside its experiment, or the experiment has no shards here, so "
            f"there are no images of {COMPARED_SPLIT} to compare the file with the expert: name "
            "images with --images, or give results/NAME/experts/EXPERT/seed-S of a project that "
            "has the shards"
        )
    verify(manifest, split)
    rows = Split(manifest, split)
    classes = next(iter(expert.posterior.outputs.values())).classes
    sizes = {rank: len(names) for rank, names in classes.items()}
    check_classes(folder, rows.manifest, sizes, [name for own in classes.values() for name in own])
    chosen = _spread(len(rows))
    rows.keep(chosen)
    prepared = [
        tuple(fitted(rows.image(row), preparation) for preparation in expert.preparations)
        for row in chosen.tolist()
    ]
    return Images(f"{split} of {expert.deployment.experiment}", prepared)


def _given(expert: LoadedExpert, places: list[str]) -> Images:
    mode = expert.deployment.images
    found = find_images(places, mode)
    for error in found.unreadable:
        report(printable(error))
    files = list(found.files)
    pixels = []
    for index in _spread(len(files)).tolist():
        prepared = prepare_image(GivenImage(files[index], files[index]), mode, expert.preparations)
        if isinstance(prepared, TailproofError):
            report(printable(prepared))
        else:
            pixels.append(prepared)
    if not pixels:
        raise TailproofError(
            "no image of --images can be read: see the messages above, or name other images"
        )
    return Images("given images", pixels)


def _spread(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, COMPARED)).round().astype(int))
