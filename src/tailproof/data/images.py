"""Decodes and encodes all images.

An image is a uint8 array, [H, W] in mode ``L`` (greyscale) or [H, W, 3] in mode ``RGB``; or a
float32 array from a .npy file, [H, W, bands] in mode ``float32``.

Pillow defines the pixels of a file. OpenCV decodes the plainest PNG and JPEG files, which are most
files of most datasets: it returns the same pixels in 50 to 80 % of the time.
"""

import hashlib
import io
import re
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps

from tailproof.data.multiband import MODE, START, decode_bands
from tailproof.runtime.errors import TailproofError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
GREY = ("1", "L", "LA", "La")
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
DEEP_COLOUR = re.compile(r"(RGB|LA|CMYK)\w*;16\w?")

PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
PNG_END = b"\x00\x00\x00\x00IEND"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
BASELINE, SCAN = 0xC0, 0xDA
# JFIF header, quantisation and Huffman tables, restart interval, comment
PLAIN_SEGMENTS = (0xE0, 0xDB, 0xC4, 0xDD, 0xFE)
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # any marker in a scan except a restart

# OpenCV's threads do not survive a fork, and the loader's workers already run in parallel.
cv2.setNumThreads(0)


def decode(data: bytes, mode: str | None = None) -> np.ndarray:
    """Decode the bytes of an image file.

    The EXIF orientation is applied, as in viewers. Palettes and other colour spaces become RGB.
    Alpha is dropped, as in torchvision's ImageFolder. Only the first of several frames is decoded.

    Args:
        data: a PNG, JPEG, WebP, BMP, TIFF or .npy file.
        mode: ``L``, ``RGB`` or ``float32``. Default: ``float32`` for a .npy file; ``L`` for a
            picture without colour, whether or not its file is declared greyscale; else ``RGB``.

    Returns:
        uint8, [H, W] in mode ``L`` and [H, W, 3] in mode ``RGB``; float32 [H, W, bands].

    Raises:
        TailproofError: the bytes are not such a file, are truncated, or have more than 8 bits per
            channel, for which no scale is right for all images.
    """
    if data.startswith(START) and mode in (None, MODE):
        return decode_bands(data)
    if mode == MODE:
        raise TailproofError(
            "it is not a .npy array of bands, expected one as for the other images"
        )
    channels = _plain_png(data) or _plain_jpeg(data)
    if channels:
        flags = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if image is not None:  # else it is damaged, and Pillow reports how
            return _in_mode(image, mode)
    return _decode_any(data, mode)


def encode_png(image: np.ndarray) -> bytes:
    """Encode a uint8 array, [H, W] or [H, W, 3], as PNG. The same array gives the same bytes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def pixel_digest(image: np.ndarray) -> str:
    """Return the SHA-256 of the mode, size and pixels of a decoded image.

    It is equal for equal pictures, if `decode` returned them in their default mode.
    """
    height, width = image.shape[:2]
    mode = "L" if image.ndim == 2 else "RGB"
    if image.dtype == np.float32:
        mode = f"{MODE}x{image.shape[2]}"
    digest = hashlib.sha256(f"{mode} {height} {width} ".encode())
    digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()


def _decode_any(data: bytes, mode: str | None) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            stored = DEEP_COLOUR.search(str(image.tile))  # Pillow reduces these to 8 bits
            image.load()
            if stored or image.mode in DEEP:
                raise TailproofError(
                    f"its pixels have mode {stored[0] if stored else image.mode}, expected 8 bits "
                    "per channel: choose the range that matters and convert it"
                )
            ImageOps.exif_transpose(image, in_place=True)
            native = "L" if image.mode in GREY else "RGB"
            return _in_mode(np.array(image.convert(mode or native)), mode)
    except (
        Image.DecompressionBombError,
        EOFError,
        OSError,
        SyntaxError,  # raised by Pillow for broken PNG chunks
        ValueError,
        struct.error,
        zlib.error,
    ) as error:
        raise TailproofError(f"it does not decode as an image ({error})") from error


def _plain_png(data: bytes) -> int:
    """Return the channels of a complete 8-bit grey or RGB PNG with pixels only; else 0."""
    if not data.startswith(PNG_START) or len(data) < 33:
        return 0
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if depth != 8 or colour not in (0, 2) or width * height > Image.MAX_IMAGE_PIXELS:
        return 0
    position = 33
    while data[position + 4 : position + 8] == b"IDAT":
        position += 12 + int.from_bytes(data[position : position + 4])
    whole = data[position : position + 8] == PNG_END and position + 12 <= len(data)
    return (3 if colour else 1) if whole else 0


def _plain_jpeg(data: bytes) -> int:
    """Return the channels of a complete baseline JPEG of one scan without EXIF; else 0.

    The only marker in its scan is the end, which exists. If the scan is damaged, OpenCV and Pillow
    therefore return the same pixels.
    """
    if not data.startswith(JPEG_START) or not data.endswith(JPEG_END):
        return 0
    position, channels = 2, 0
    while position + 10 <= len(data) and data[position] == 0xFF:
        kind, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if kind == BASELINE and not channels:
            depth, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            if depth != 8 or width * height > Image.MAX_IMAGE_PIXELS or channels not in (1, 3):
                return 0
        elif kind == SCAN:
            end = MARKER.search(data, position + 2 + length)
            last = end is not None and end.start() == len(data) - 2
            return channels if last and data[position + 4] == channels else 0
        elif kind not in PLAIN_SEGMENTS:
            return 0
        position += 2 + length
    return 0


def _in_mode(image: np.ndarray, mode: str | None) -> np.ndarray:
    if mode is None:
        return _without_equal_channels(image)
    if mode == ("L" if image.ndim == 2 else "RGB"):
        return image
    return np.array(Image.fromarray(image).convert(mode))


def _without_equal_channels(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return image
    first = image[..., 0]
    if (first == image[..., 1]).all() and (first == image[..., 2]).all():
        return np.ascontiguousarray(first)
    return image
