"""Finds image files and prepares images as in training."""

import stat
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tailproof.data.image_formats import SUFFIXES
from tailproof.data.multiband import MODE
from tailproof.data.sources.base import Skipped
from tailproof.data.sources.folders.class_folders import reason_not_a_picture
from tailproof.data.sources.folders.filesystem import Folder
from tailproof.loading.resizing import fit
from tailproof.predict.image_inputs import GivenImage, pixels_of
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed
from tailproof.untrusted_text import printable

CHUNK = 8  # images that a thread reads per task


class Preparation(NamedTuple):
    """What a network takes of an image, before normalization.

    Attributes:
        shape: channels, height and width.
        interpolation: how images are resized to it.
    """

    shape: tuple[int, int, int]
    interpolation: str


Prepared = tuple[np.ndarray, ...] | TailproofError
"""An image [H, W, C] for each preparation, or why there is none."""


@dataclass
class FoundImages:
    """The image files at some places, and what lies next to them.

    Attributes:
        files: the given files and the sorted images of the given folders, without duplicates.
        unreadable: folders that cannot be searched.
        skipped: other files in the folders, by reason.
    """

    files: dict[Path, None] = field(default_factory=dict)
    unreadable: list[TailproofError] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def passed_over(self) -> str:
        """What lies next to the images, as a sentence."""
        counts = [f"{printable(item.reason)} ({item.count:,})" for item in self.skipped]
        return f"passed over in folders: {listed(counts)}"


def find_images(places: Iterable[str | Path], mode: str) -> FoundImages:
    """Return the image files at the given places.

    Args:
        places: files and folders.
        mode: mode of the expert's images, which decides the file suffixes in folders.

    Raises:
        TailproofError: a path does not exist, or a folder has no images.
    """
    suffixes = {".npy"} if mode == MODE else SUFFIXES
    found = FoundImages()
    for place in map(Path, places):
        try:
            status = place.stat()
        except FileNotFoundError:
            raise TailproofError(f"{place} does not exist: give image files or folders") from None
        except OSError as error:
            raise TailproofError(
                f"{place} cannot be read ({error.strerror}): check its permissions"
            ) from None
        if stat.S_ISDIR(status.st_mode):
            _search(place, suffixes, found)
        else:
            found.files[place] = None
    return found


def read_images(
    images: list[GivenImage],
    mode: str,
    preparations: Sequence[Preparation],
    *,
    ahead: int,
    threads: int,
) -> Iterator[Prepared]:
    """Yield each image as the inputs of networks, or the error that it caused, in order.

    Args:
        images: the images.
        mode: the mode into which they are decoded.
        preparations: what the networks take.
        ahead: number of images to read ahead.
        threads: number of threads that read.
    """

    def read(chunk: list[GivenImage]) -> list[Prepared]:
        return [prepare_image(image, mode, preparations) for image in chunk]

    chunks = (images[start : start + CHUNK] for start in range(0, len(images), CHUNK))
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(read, chunk) for chunk in islice(chunks, ahead // CHUNK))
        try:
            while waiting:
                yield from waiting.popleft().result()
                waiting.extend(pool.submit(read, chunk) for chunk in islice(chunks, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _search(folder: Path, suffixes: Collection[str], found: FoundImages) -> None:
    """Add the images below a folder, listed as the source image_folder lists them."""

    def fail(error: OSError) -> None:
        found.unreadable.append(
            TailproofError(
                f"{error.filename} cannot be read ({error.strerror}): check its permissions"
            )
        )

    listing, images, before = Folder(folder, readable=False), [], len(found.unreadable)
    for path in listing.files(on_error=fail):
        if Path(path).suffix.lower() in suffixes:
            images.append(folder / path)
        else:
            listing.left_out.add(reason_not_a_picture(path), path)
    if not images and len(found.unreadable) == before:
        raise TailproofError(
            f"{folder} has no images for this expert, expected files ending in "
            f"{', '.join(sorted(suffixes))}: name another folder, or convert the files"
        )
    found.files |= dict.fromkeys(images)
    found.skipped += listing.left_out.skipped()


def prepare_image(given: GivenImage, mode: str, preparations: Sequence[Preparation]) -> Prepared:
    """Return an image as each preparation makes it, as in the stage infer, or an error."""
    name = str(given.name)
    try:
        image = pixels_of(given.image, mode)
        image = image if image.ndim == 3 else image[:, :, None]
        return tuple(_fitted(image, preparation) for preparation in preparations)
    except TailproofError as error:
        text = str(error)
        return TailproofError(text if text.startswith(name) else f"{name}: {text}")


def _fitted(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    channels, height, width = preparation.shape
    if image.shape[2] != channels:
        raise TailproofError(
            f"expected {channels} bands as in training, found {image.shape[2]}: give images of the "
            "same kind"
        )
    if height == width:
        return fit(image, height, preparation.interpolation)
    if image.shape[:2] != (height, width):
        raise TailproofError(
            f"expected {height}×{width} pixels as in training, found "
            f"{image.shape[0]}×{image.shape[1]}: cut or shrink it to that size"
        )
    return image
