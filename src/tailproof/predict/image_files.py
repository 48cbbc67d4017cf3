"""Reads image files and prepares images as in training."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from tailproof.data.heic import without_heic
from tailproof.data.images import decode
from tailproof.data.sources.folders.filesystem import read_file
from tailproof.loading.resizing import fit
from tailproof.predict.expert import Expert
from tailproof.runtime.errors import TailproofError

CHUNK = 8  # images that a thread reads per task
Image = tuple[Path, np.ndarray | TailproofError]


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
