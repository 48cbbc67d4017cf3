"""Reads images and prepares them as in training."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from tailproof.loading.resizing import fit
from tailproof.predict.image_inputs import GivenImage, pixels_of
from tailproof.predict.preparation import Preparation
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

CHUNK = 8  # images that a thread reads per task


Prepared = tuple[np.ndarray, ...] | TailproofError
"""An image [H, W, C] for each preparation, or why there is none."""


def read_images(
    images: Sequence[GivenImage],
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

    def read(chunk: Sequence[GivenImage]) -> list[Prepared]:
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


def prepare_image(given: GivenImage, mode: str, preparations: Sequence[Preparation]) -> Prepared:
    """Return an image as each preparation makes it, as in the stage infer, or an error."""
    name = str(given.name)
    try:
        image = pixels_of(given.image, mode)
        image = image if image.ndim == 3 else image[:, :, None]
        return tuple(fitted(image, preparation) for preparation in preparations)
    except TailproofError as error:
        text = str(error)
        return TailproofError(text if text.startswith(name) else f"{name}: {text}")


def fitted(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Return an image [H, W, C] as a preparation makes it.

    Raises:
        TailproofError: it has other bands or a size that the expert cannot take.
    """
    channels, height, width = preparation.shape
    if image.shape[2] != channels:
        raise TailproofError(
            f"expected {quantity(channels, 'band')} as in training, found {image.shape[2]}: give "
            "images with the same bands"
        )
    if height == width:
        return fit(image, height, preparation.interpolation)
    if image.shape[:2] != (height, width):
        raise TailproofError(
            f"expected a height of {height} and a width of {width} pixels as in training, found "
            f"{image.shape[0]} and {image.shape[1]}: crop or resize it"
        )
    return image
