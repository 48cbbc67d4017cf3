"""Finding images, and making them what an expert was trained on."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from tailproof.data.images import decode
from tailproof.data.multiband import MODE
from tailproof.data.sources.filesystem import read_file, walk
from tailproof.data.sources.image_folder import SUFFIXES
from tailproof.loading.augmentation import fit
from tailproof.predict.expert import Expert
from tailproof.runtime.errors import TailproofError

CHUNK = 8  # images that a thread reads at a time
Image = tuple[Path, np.ndarray | TailproofError]


def find_images(places: Iterable[str | Path], mode: str) -> list[Path]:
    """Return the files that are named, and those of folders by their suffix, sorted; none twice.

    Args:
        places: files and folders.
        mode: of the expert's images: arrays of bands are .npy files.

    Raises:
        TailproofError: there is nothing at a place, or no image in a folder.
    """
    suffixes = {".npy"} if mode == MODE else SUFFIXES
    found: dict[Path, None] = {}
    for place in map(Path, places):
        if place.is_dir():
            found |= dict.fromkeys(_images_of(place, suffixes))
        elif place.exists():
            found[place] = None
        else:
            raise TailproofError(f"{place} does not exist: name image files or folders of them")
    return list(found)


def read_images(files: list[Path], expert: Expert, ahead: int) -> Iterator[Image]:
    """Yield each file with its image [H, W, C] as the expert takes it, or with what is wrong.

    Args:
        files: in the order in which they are yielded.
        expert: says how.
        ahead: how many are read before they are asked for.
    """
    chunks = (files[start : start + CHUNK] for start in range(0, len(files), CHUNK))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        waiting = deque(pool.submit(_read, each, expert) for each in islice(chunks, ahead // CHUNK))
        try:
            while waiting:
                yield from waiting.popleft().result()
                waiting.extend(pool.submit(_read, each, expert) for each in islice(chunks, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _images_of(folder: Path, suffixes: set[str]) -> list[Path]:
    try:
        found = sorted(file for file in walk(folder) if file.suffix.lower() in suffixes)
    except OSError as error:
        raise TailproofError(f"{error.filename} cannot be read: {error.strerror}") from None
    if not found:
        raise TailproofError(
            f"{folder} holds no image of the kind that the expert takes: no file ends in "
            f"{', '.join(sorted(suffixes))}"
        )
    return found


def _read(files: list[Path], expert: Expert) -> list[Image]:
    return [(file, _one(file, expert)) for file in files]


def _one(file: Path, expert: Expert) -> np.ndarray | TailproofError:
    """Return the image, prepared as the stage infer does it."""
    channels, height, width = expert.shape
    try:
        image = decode(read_file(file), expert.deployment.images)
    except TailproofError as error:
        text = re.sub(r" <_io\.BytesIO [^>]*>", "", str(error))  # Pillow's name for the bytes
        return TailproofError(text if text.startswith(str(file)) else f"{file}: {text}")
    image = image if image.ndim == 3 else image[:, :, None]
    if image.shape[2] != channels:
        return TailproofError(
            f"{file}: it has {image.shape[2]} bands, expected {channels} as in training"
        )
    if height == width:
        return fit(image, height)
    if image.shape[:2] != (height, width):
        return TailproofError(
            f"{file}: it has {image.shape[0]}×{image.shape[1]} pixels, expected {height}×{width} "
            "as in training"
        )
    return image
