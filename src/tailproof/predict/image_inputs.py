"""Images as a caller gives them: paths, Pillow images, arrays, or a column of a table of them."""

import io
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from tailproof.data.heic import without_heic
from tailproof.data.images import DEEP, decode
from tailproof.data.multiband import MODE, decode_bands
from tailproof.data.sources.folders.filesystem import read_file
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_text import printable

EXPECTED = "a path, a Pillow image or a uint8 array [height, width, 3]"
CHANNELS = (1, 3, 4)
"""Sizes of the last axis of a picture."""

_LOADING = threading.Lock()


class GivenImage(NamedTuple):
    """One image.

    Attributes:
        name: its path, or its position among the images, for messages.
        image: a path, a Pillow image, an array, or what is none of these and will be refused.
    """

    name: str | Path
    image: Any


def list_images(images: Any) -> tuple[list[GivenImage], Any]:
    """Return the images one by one, and the index of their table; None without a table.

    Args:
        images: an image, an iterable of images, a column of a pandas table, or an array of images
            [N, H, W, C].

    Raises:
        TailproofError: it is something else.
    """
    if isinstance(images, str | os.PathLike | Image.Image):
        return _named([images]), None
    if isinstance(images, np.ndarray):
        return _named(_of_stack(images)), None
    kind = type(images)
    if kind.__module__.startswith("torch"):
        raise TailproofError(f"images is a {kind.__name__}, expected {_instead_of_tensor()}")
    if kind.__name__ == "DataFrame":
        raise TailproofError(
            f"images is a table with the columns {', '.join(map(str, images.columns[:5]))}: give "
            "the column of paths, such as table['file']"
        )
    if isinstance(images, bytes | dict | set) or not isinstance(images, Iterable):
        raise TailproofError(f"images is a {kind.__name__}, expected {EXPECTED}, or a list of them")
    is_column = kind.__name__ == "Series" and "pandas" in sys.modules
    index: Any = getattr(images, "index", None) if is_column else None
    return _named(images), index


def _named(images: Iterable[Any]) -> list[GivenImage]:
    return [
        GivenImage(Path(image) if isinstance(image, str | os.PathLike) else f"image {row}", image)
        for row, image in enumerate(images)
    ]


def _of_stack(array: np.ndarray) -> Iterable[Any]:
    """Return the images of an array: of paths, of one image, or of a batch."""
    if array.dtype.kind in "OU" and array.ndim == 1:
        return array.tolist()
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in CHANNELS):
        return [array]
    if array.ndim == 4:
        return list(array)
    raise TailproofError(
        f"images is an array of the shape {list(array.shape)}, expected one image [height, width, "
        "3] or a batch [N, height, width, 3]: give [images] if it is one image of several bands, "
        "or list(images) if its first axis counts images"
    )


def pixels_of(image: Any, mode: str) -> np.ndarray:
    """Return the pixels of an image, decoded as in training.

    A picture or an array in memory gives the pixels that a lossless file of it would.

    Args:
        image: a path, a Pillow image or an array.
        mode: ``L``, ``RGB`` or ``float32``; see `tailproof.data.images`.

    Raises:
        TailproofError: it is no image, or has more than 8 bits per channel.
    """
    if isinstance(image, str | os.PathLike):
        return decode(without_heic(read_file(Path(image))), mode)
    if isinstance(image, Image.Image):
        return _of_picture(image, mode)
    if isinstance(image, np.ndarray) and not isinstance(image, np.ma.MaskedArray):
        return _of_bands(image) if mode == MODE else _of_array(image, mode)
    kind = type(image)
    expected = _instead_of_tensor() if kind.__module__.startswith("torch") else EXPECTED
    shown = f" ({printable(image)!s:.40})" if isinstance(image, int | float) else ""
    raise TailproofError(f"it is a {kind.__name__}{shown}, expected {expected}")


def _instead_of_tensor() -> str:
    return (
        f"{EXPECTED} before any normalization: tensor.permute(0, 2, 3, 1).numpy() makes arrays of "
        "a batch of uint8"
    )


def _of_picture(picture: Image.Image, mode: str) -> np.ndarray:
    if mode == MODE:
        raise TailproofError(
            "it is a picture, expected an array of bands [height, width, bands] as in training"
        )
    if picture.mode in DEEP:
        raise TailproofError(
            f"its pixels have more than 8 bits per channel (mode {picture.mode}): scale the range "
            "that matters to 0-255, the same way for all images"
        )
    try:
        with _LOADING:  # the same picture may be given twice
            picture.load()
        upright = _upright(picture)
        if not picture.has_transparency_data:
            rgb = upright if upright.mode in ("L", "RGB") else upright.convert("RGB")
            return np.asarray(rgb.convert(mode))
        file = io.BytesIO()
        upright.convert("RGBA").save(file, "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as error:
        raise TailproofError(
            f"it cannot be decoded ({printable(error):.200}): open it again"
        ) from None
    return decode(file.getvalue(), mode)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # a viewer shows a picture with damaged EXIF as it lies
        return picture


def _of_array(array: np.ndarray, mode: str) -> np.ndarray:
    shape = list(array.shape)
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (3, 4))):
        turned = ": move the channels to the end with array.transpose(1, 2, 0)"
        raise TailproofError(
            f"it is an array of the shape {shape}, expected [height, width], [height, width, 3] or "
            f"[height, width, 4]{turned if array.ndim == 3 and shape[0] in CHANNELS else ''}"
        )
    if array.dtype != np.uint8:
        raise TailproofError(f"it is an array of {array.dtype}{_advice(array)}")
    return _of_picture(Image.fromarray(np.ascontiguousarray(array)), mode)


def _advice(array: np.ndarray) -> str:
    """Say what numbers an array holds, and how to make pixels of them."""
    expected = ", expected uint8 from 0 to 255"
    if array.dtype.kind not in "fiu":
        return expected
    low, high = float(array.min()), float(array.max())
    found = f" from {low:g} to {high:g}{expected}"
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return f"{found}: convert it with (255 * array).round().astype('uint8')"
    if low >= 0 and high <= 255:
        return f"{found}: convert it with array.astype('uint8') if 255 is white"
    if array.dtype.kind == "f":
        return f"{found}: give the pixels as they were before normalization"
    return f"{found}: scale the range that matters to 0-255, the same way for all images"


def _of_bands(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise TailproofError(f"it is an array of {array.dtype}, expected numbers")
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return decode_bands(file.getvalue())
