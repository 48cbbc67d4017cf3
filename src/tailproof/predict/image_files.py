"""Finds image files and prepares images as in training."""

import stat
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from tailproof.data.heic import without_heic
from tailproof.data.image_formats import SUFFIXES
from tailproof.data.images import decode
from tailproof.data.multiband import MODE
from tailproof.data.sources.base import Skipped
from tailproof.data.sources.folders.class_folders import reason_not_a_picture
from tailproof.data.sources.folders.filesystem import Folder, read_file
from tailproof.loading.resizing import fit
from tailproof.predict.expert import Expert
from tailproof.runtime.errors import TailproofError

CHUNK = 8  # images that a thread reads per task
Image = tuple[Path, np.ndarray | TailproofError]


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


def read_images(files: list[Path], expert: Expert, ahead: int) -> Iterator[Image]:
    """Yield each file with its prepared image [H, W, C], or with the error that it caused.

    Args:
        files: the image files; the order is kept.
        expert: the expert that defines the preprocessing.
        ahead: number of images to read ahead.
    """
    chunks = (files[start : start + CHUNK] for start in range(0, len(files), CHUNK))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        waiting = deque(
            pool.submit(_read, chunk, expert) for chunk in islice(chunks, ahead // CHUNK)
        )
        try:
            while waiting:
                yield from waiting.popleft().result()
                waiting.extend(pool.submit(_read, chunk, expert) for chunk in islice(chunks, 1))
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


def _read(files: list[Path], expert: Expert) -> list[Image]:
    return [(file, _one(file, expert)) for file in files]


def _one(file: Path, expert: Expert) -> np.ndarray | TailproofError:
    """Return the image, prepared as in the stage infer, or an error."""
    channels, height, width = expert.shape
    try:
        image = decode(without_heic(read_file(file)), expert.deployment.images)
    except TailproofError as error:
        text = str(error)
        return TailproofError(text if text.startswith(str(file)) else f"{file}: {text}")
    image = image if image.ndim == 3 else image[:, :, None]
    if image.shape[2] != channels:
        return TailproofError(
            f"{file}: expected {channels} bands as in training, found {image.shape[2]}: give "
            "images of the same kind"
        )
    if height == width:
        return fit(image, height, expert.interpolation)
    if image.shape[:2] != (height, width):
        return TailproofError(
            f"{file}: expected {height}×{width} pixels as in training, found "
            f"{image.shape[0]}×{image.shape[1]}: cut or shrink it to that size"
        )
    return image
