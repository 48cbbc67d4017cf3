"""The images of a source that cannot be read: their list, and whether they can be left out."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from tailproof.config.data import Data
from tailproof.config.splits import HELD_OUT, TRAIN, UNKNOWN, VAL
from tailproof.data.sources.base import where
from tailproof.files import write_text
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity
from tailproof.untrusted_text import csv_line

SHOWN = 10  # images in a message
NAMED = 3  # classes in a sentence
POOLS = {
    TRAIN: "the training images",
    VAL: "the validation images",
    HELD_OUT: "the test images",
    UNKNOWN: "the unknown images",
}


class BadImage(NamedTuple):
    """An image that cannot be read.

    Attributes:
        number: its position among all samples of the source.
        path: the raw file, relative to the root of the source.
        row: position in that file; None if the file is the image.
        pool: the pool of the sample.
        labels: its class by rank.
        reason: why it cannot be read.
    """

    number: int
    path: str
    row: int | None
    pool: str | None
    labels: dict[str, str | None]
    reason: str


def write_bad_images(path: str | Path, bad: Iterable[BadImage]) -> None:
    """Write path, row and reason of each image as CSV, in the order of the source."""
    rows = [("path", "row", "reason"), *((image.path, image.row, image.reason) for image in bad)]
    write_text(path, "".join(map(csv_line, rows)))


def why_not_skipped(
    bad: list[BadImage], samples: pa.Table, ranks: Iterable[str], config: Data
) -> str | None:
    """Return why images cannot be left out of the samples; None if they can.

    Args:
        bad: the images that cannot be read.
        samples: all other samples.
        ranks: the columns of labels in it.
        config: says whether bad images may be left out, and how many.
    """
    if config.on_bad_image == "stop":
        return "replace or remove them, or set data.on_bad_image to skip"
    remaining = Counter(samples["pool"].to_pylist())
    for pool, count in Counter(image.pool for image in bad).items():
        share = count / (count + remaining[pool])
        if share > config.max_bad_share:
            place = POOLS.get(pool or "", "all images")
            return (
                f"bad images are {share:.1%} of {place}, more than data.max_bad_share "
                f"({config.max_bad_share:.1%}): replace or remove them, or raise data.max_bad_share"
            )
    lost = [name for rank in ranks for name in _lost_classes(bad, samples, rank)]
    if lost:
        return (
            f"no usable image is left in {listed(lost, NAMED)}: replace the images or remove the "
            "class"
        )
    return None


def class_loss_warning(
    bad: list[BadImage], samples: pa.Table, rank: str, most: float
) -> str | None:
    """Return a sentence about classes that lose more than a share of their images, if any do."""
    remaining = Counter(samples[rank].to_pylist())
    counts = Counter(image.labels[rank] for image in bad)
    losing = [
        f"'{name}' ({count} of {count + remaining[name]})"
        for name, count in counts.items()
        if name is not None and count > most * (count + remaining[name])
    ]
    if not losing:
        return None
    classes = quantity(len(losing), "class", "classes")
    return f"in {classes}, more than {most:.1%} of the images are bad: {listed(losing, NAMED)}"


def bad_images_error(
    bad: list[BadImage], total: int, root: Path | None, listed_in: str | Path, advice: str
) -> TailproofError:
    """Build the error that names the first bad images, the list of all, and what to do.

    Args:
        bad: the images that cannot be read.
        total: the number of samples with them.
        root: the folder that their paths are relative to.
        listed_in: the file that lists all of them.
        advice: what to do.
    """
    shown = [
        f"  {where(Path(root or '', image.path), image.row)}: {image.reason}"
        for image in bad[:SHOWN]
    ]
    more = [f"  and {len(bad) - SHOWN:,} more"] if len(bad) > SHOWN else []
    verdict = f"{len(bad):,} of {quantity(total, 'image')} cannot be used: {advice}"
    return TailproofError("\n".join([f"{verdict}; {listed_in} lists all of them:", *shown, *more]))


def _lost_classes(bad: list[BadImage], samples: pa.Table, rank: str) -> list[str]:
    """Return the classes of each pool that have bad images only, in words."""
    pairs = zip(samples["pool"].to_pylist(), samples[rank].to_pylist(), strict=True)
    remaining = set(pairs)
    lost = dict.fromkeys((image.pool, image.labels[rank]) for image in bad)
    return [
        f"the class '{name}'" + (f" among {POOLS[pool]}" if pool else "")
        for pool, name in lost
        if name is not None and (pool, name) not in remaining
    ]
