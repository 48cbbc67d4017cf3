"""The one place where images are decoded and encoded.

An image is a uint8 array: [H, W] in mode ``L`` (greyscale), [H, W, 3] in mode ``RGB``.
"""

import hashlib
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

from tailproof.core.errors import TailproofError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
GREY = ("1", "L", "LA", "La")
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def decode(data: bytes, mode: str | None = None) -> np.ndarray:
    """Decode an image file's bytes.

    The EXIF orientation is applied, since viewers do. Palettes and other colour spaces become
    RGB, alpha is dropped (as in torchvision's ImageFolder), of several frames the first is taken.

    Args:
        data: a PNG, JPEG, WebP, BMP or TIFF file.
        mode: ``L`` or ``RGB``; by default ``L`` for a picture that holds no colour, whether its
            file says greyscale or not, and ``RGB`` for others.

    Returns:
        uint8, [H, W] in mode ``L`` and [H, W, 3] in mode ``RGB``.

    Raises:
        TailproofError: the bytes are no such file, are truncated, or hold more than 8 bits of
            grey, for which there is no one right scale.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            if image.mode in DEEP:
                raise TailproofError(
                    f"its pixels have mode {image.mode}, expected 8 bits a channel: choose the "
                    "range that matters and convert it"
                )
            ImageOps.exif_transpose(image, in_place=True)
            if mode is None:
                return _without_equal_channels(
                    np.array(image.convert("L" if image.mode in GREY else "RGB"))
                )
            return np.array(image.convert(mode))
    except (
        Image.DecompressionBombError,
        EOFError,
        OSError,
        SyntaxError,  # Pillow's for broken PNG chunks
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        raise TailproofError(f"it does not decode as an image ({error})") from error


def encode_png(image: np.ndarray) -> bytes:
    """Encode a uint8 array, [H, W] or [H, W, 3], as PNG: the same array gives the same bytes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def pixel_digest(image: np.ndarray) -> str:
    """Return the SHA-256 of a decoded image's mode, size and pixels.

    Of images that `decode` returned in their default mode, it is equal for the same picture.
    """
    height, width = image.shape[:2]
    mode = "L" if image.ndim == 2 else "RGB"
    digest = hashlib.sha256(f"{mode} {height} {width} ".encode())
    digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()


def _without_equal_channels(image: np.ndarray) -> np.ndarray:
    if image.ndim == 3 and (image == image[..., :1]).all():
        return np.ascontiguousarray(image[..., 0])
    return image
