"""Decodes and encodes all images.

An image is a uint8 array, [H, W] in mode ``L`` (greyscale) or [H, W, 3] in mode ``RGB``; or a
float32 array from a .npy file, [H, W, bands] in mode ``float32``.

Pillow defines the pixels of a file. OpenCV decodes the plainest PNG and JPEG files, which are most
files of most datasets: it returns the same pixels in 50 to 80 % of the time.

Large images are converted in strips, and each process decodes one of them at a time. Memory thus
holds an image as an array (3 bytes per pixel), and as its decoder has it (3 in OpenCV, 4 in
Pillow), but no other copy of it. The pixels are the same as without strips.
"""

import hashlib
import io
import logging
import math
import os
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from tailproof.data.image_formats import ADVICE, FORMAT_NAMES, FORMATS, kind_of
from tailproof.data.multiband import MODE, START, decode_bands
from tailproof.runtime.errors import TailproofError

GREY = ("1", "L", "LA", "La")
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
SUBFILE, BITS_PER_SAMPLE, SAMPLES_PER_PIXEL, EXTRA_SAMPLES = 254, 258, 277, 338  # tags of TIFF
REDUCED = 1  # flag of SUBFILE
CANON = b"CR"  # at byte 8 of a CR2

UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: np.rot90(upright, -1),
}
"""Views of an upright picture in the order of its file, by the EXIF orientation of the file."""
SIDEWAYS = (5, 6, 7, 8)  # the orientations that exchange height and width

MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or math.inf)  # Pillow takes more for an attack
STRIP = 2**20  # pixels that are converted at once
LARGE = 2**25  # pixels of an image that is decoded while no other large one is

TRANSPARENT = (
    "transparent parts are filled with white, or with black where white would hide the drawing"
)
FRAMES = "only the first of several frames is read"
PROFILE = "a colour profile other than sRGB is ignored"
BANDS = "bands other than red, green and blue are ignored"

OTHER_CAUSES = {
    "TIFF": ", or have bands that Pillow does not read: store such images as arrays in parquet",
    "AVIF": ", or Pillow was built without AVIF: run `pip install -U pillow`",
}
"""Why else Pillow may not identify a file of one of its formats."""

SAME_ALPHA = 5  # levels of alpha that nobody sees
HIDDEN = 240  # a picture over white without a darker pixel does not stand out
COLOUR_STEP = 64  # between the colours on which a profile is tried
SAME_COLOUR = 5  # levels by which profiles that mean sRGB differ

PILLOW_FORMATS = [name.upper() for name in FORMATS if name != "HEIC"]

PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
PNG_END = b"\x00\x00\x00\x00IEND"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
BASELINE, SCAN = 0xC0, 0xDA
# JFIF header, quantisation and Huffman tables, restart interval, comment
PLAIN_SEGMENTS = (0xE0, 0xDB, 0xC4, 0xDD, 0xFE)
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # any marker in a scan except a restart

# What is larger is refused, and what is smaller is read.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# What is wrong with a file is reported once, by its location.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

# OpenCV's threads do not survive a fork, and the loader's workers already run in parallel.
cv2.setNumThreads(0)


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8, [H, W] in mode ``L`` and [H, W, 3] in mode ``RGB``; float32 [H, W, bands].
        notes: what the pixels leave out of the file, as the constants above.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def decode(data: bytes, mode: str | None = None) -> np.ndarray:
    """Decode the bytes of an image file.

    The EXIF orientation is applied, as in viewers. Palettes and other colour spaces become RGB.
    Transparent parts show a white background, or a black one if the picture would not stand out
    from white; alpha that is the same everywhere is dropped. Colour profiles are ignored, as in
    torchvision and timm. Only the first of several frames is decoded.

    Args:
        data: a file of one of `FORMATS` except HEIC (see `heic`), or a .npy file.
        mode: ``L``, ``RGB`` or ``float32``. Default: ``float32`` for a .npy file; ``L`` for a
            picture without colour, whether or not its file is declared greyscale; else ``RGB``.

    Returns:
        uint8, [H, W] in mode ``L`` and [H, W, 3] in mode ``RGB``; float32 [H, W, bands].

    Raises:
        TailproofError: the bytes are not such a file, are truncated, or have more than 8 bits per
            channel, for which no scale is right for all images.
    """
    image = _decode_plain(data, mode)
    return _read_any(data, mode).pixels if image is None else image


def read_picture(data: bytes, mode: str | None = None) -> Picture:
    """Decode an image file as `decode` does, and say what the pixels leave out of it."""
    image = _decode_plain(data, mode)
    return _read_any(data, mode) if image is None else Picture(image)


def _decode_plain(data: bytes, mode: str | None) -> np.ndarray | None:
    """Decode an array of bands or a file of the plainest kind; None for any other picture."""
    if data.startswith(START) and mode in (None, MODE):
        return decode_bands(data)
    if mode == MODE:
        raise TailproofError(
            "it is not a .npy array of bands like the other images: save it as one"
        )
    channels, pixels = _plain_png(data) or _plain_jpeg(data) or (0, 0)
    if not channels:
        return None
    flags = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    with _one_at_a_time(pixels):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        # If it is damaged, Pillow reports how.
        return None if image is None else _in_mode(image, mode)


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
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _read_any(data: bytes, mode: str | None) -> Picture:
    """Decode what Pillow identifies, whatever it raises for the bytes of strangers."""
    try:
        with Image.open(io.BytesIO(data), formats=PILLOW_FORMATS) as image:
            _refuse_preview(image, data)
            bits = _bits(image, data)
            notes = _notes(image)
            with _one_at_a_time(image.width * image.height):
                image.load()
                if bits <= 8 and image.mode not in DEEP:
                    pixels, transparent = _eight_bit_pixels(image)
                    image.close()
                    notes += [TRANSPARENT] if transparent else []
                    return Picture(_in_mode(pixels, mode), tuple(notes))
    except TailproofError:  # a signal may arrive at any time
        raise
    except Image.UnidentifiedImageError:
        raise TailproofError(_other_content(data)) from None
    except Image.DecompressionBombError as error:
        raise TailproofError(f"it is too large to decode ({error}): shrink it") from None
    except Exception as error:
        raise TailproofError(
            f"it cannot be decoded; it may be truncated or damaged ({_reason(error)}): "
            "copy it again"
        ) from error
    raise TailproofError(
        f"its pixels have {max(bits, 16)} bits per channel, expected 8: scale the range that "
        "matters to 0-255, the same way for all images, or store them as arrays in parquet"
    )


def is_deep(image: Image.Image) -> bool:
    """Return whether a picture in memory has more than 8 bits per channel, in it or its file.

    Once its pixels are read, a PNG with several channels does not say so any more.
    """
    if isinstance(image, TiffImageFile) and max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) > 8:
        return True
    unread = [str(tile) for tile in getattr(image, "tile", [])]
    return image.mode in DEEP or any(";16" in tile for tile in unread)


def _reason(error: Exception) -> str:
    """Return the text of an error without memory addresses."""
    return re.sub(r" ?<[^<>]* at 0x[0-9a-fA-F]+>", "", str(error)) or type(error).__name__


def _other_content(data: bytes) -> str:
    kind = kind_of(data)
    if kind not in FORMATS:
        return f"it is {kind}, expected {FORMAT_NAMES}: {ADVICE.get(kind, 'convert it')}"
    return (
        f"it begins like {kind}, but cannot be decoded: it may be truncated or damaged"
        f"{OTHER_CAUSES.get(kind, ': copy it again')}"
    )


def _refuse_preview(image: Image.Image, data: bytes) -> None:
    """Refuse a TIFF that begins with a small picture, as the raw pictures of most cameras do."""
    if not isinstance(image, TiffImageFile):
        return
    if data[8:10] == CANON or image.tag_v2.get(SUBFILE, 0) & REDUCED:
        raise TailproofError(
            "its first picture is a small preview, as in camera raw files (CR2, NEF, ARW, DNG): "
            "export the picture as JPEG or PNG"
        )


def _bits(image: Image.Image, data: bytes) -> int:
    """Return the bits per channel that are stored, which Pillow reduces to 8 in some modes."""
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))
    return data[24] if data.startswith(PNG_START) else 8


def _notes(image: Image.Image) -> list[str]:
    """Return what is left out of an opened image besides its alpha."""
    notes = []
    if _has_more_frames(image):
        notes.append(FRAMES)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(SAMPLES_PER_PIXEL, 1) > _used_bands(
        image
    ):
        notes.append(BANDS)
    profile = image.info.get("icc_profile")
    if profile and _changes_colours(profile):
        notes.append(PROFILE)
    return notes


def _has_more_frames(image: Image.Image) -> bool:
    if isinstance(image, TiffImageFile):
        return bool(image.tag_v2.next)  # n_frames would read all pages
    # The other frames of MPO are previews or the second eye of the same picture.
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


def _used_bands(image: Image.Image) -> int:
    bands = 1 if image.mode == "P" else len(image.getbands())
    return 3 if image.mode == "RGBA" and not has_alpha(image) else bands


@lru_cache(maxsize=64)
def _changes_colours(profile: bytes) -> bool:
    """Return whether a profile shows some colour otherwise than sRGB does."""
    levels = [*range(0, 256, COLOUR_STEP), 255]
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space == "GRAY":
            colours = Image.fromarray(np.array([levels], np.uint8))
        elif space == "RGB":
            grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).astype(np.uint8)
            colours = Image.fromarray(grid.reshape(1, -1, 3))
        else:
            return True
        shown = ImageCms.profileToProfile(
            colours, opened, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False  # a profile that is damaged says nothing
    difference = np.asarray(shown, np.int16) - np.asarray(colours.convert("RGB"), np.int16)
    return bool(np.abs(difference).max() > SAME_COLOUR)


def _eight_bit_pixels(image: Image.Image) -> tuple[np.ndarray, bool]:
    """Return the pixels of a loaded image, and whether parts of it are transparent."""
    orientation = _orientation(image)
    if has_alpha(image) and (background := _background(image)) is not None:
        return _upright(image, "RGB", orientation, lambda strip: _over(strip, background)), True
    native = "L" if image.mode in GREY else "RGB"
    return _upright(image, native, orientation, lambda strip: _converted(strip, native)), False


def _upright(
    image: Image.Image,
    mode: str,
    orientation: int | None,
    convert: Callable[[Image.Image], Image.Image],
) -> np.ndarray:
    """Return the pixels of an image upright, each strip of it converted to a mode."""
    size = image.size if orientation in SIDEWAYS else image.size[::-1]
    upright = np.empty(size if mode == "L" else (*size, 3), np.uint8)
    in_file = UPRIGHT[orientation](upright) if orientation in UPRIGHT else upright
    for top, strip in _strips(image):
        in_file[top : top + strip.height] = np.asarray(convert(strip))
    return upright


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield an image in strips of about `STRIP` pixels, each with its first row."""
    if image.width * image.height <= STRIP:
        yield 0, image
        return
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def has_alpha(image: Image.Image) -> bool:
    """Return whether there is alpha; a fourth band of TIFF whose kind is not said is none."""
    unknown = isinstance(image, TiffImageFile) and EXTRA_SAMPLES not in image.tag_v2
    return image.has_transparency_data and not unknown


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except TailproofError:
        raise
    except Exception:  # a viewer shows a picture with damaged EXIF as it lies
        return None


def _background(image: Image.Image) -> int | None:
    """Return the grey that shows through, 255 or 0; None if alpha is the same everywhere."""
    alphas = [_extremes(_alpha(strip)) for _, strip in _strips(image)]
    if max(high for _, high in alphas) - min(low for low, _ in alphas) <= SAME_ALPHA:
        return None
    darkest, spread = _darkest_and_spread(image, 255)
    hidden = darkest >= HIDDEN and _darkest_and_spread(image, 0)[1] > spread
    return 0 if hidden else 255


def _extremes(band: Image.Image) -> tuple[float, float]:
    """Return the lowest and the highest level of an image of one band."""
    low, high = band.getextrema()
    assert not isinstance(low, tuple) and not isinstance(high, tuple)
    return low, high


def _alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").getchannel("A")


def _over(image: Image.Image, grey: int) -> Image.Image:
    background = Image.new("RGBA", image.size, (grey, grey, grey, 255))
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def _darkest_and_spread(image: Image.Image, grey: int) -> tuple[int, int]:
    """Return the lowest level of an image over grey, and its difference from the highest one."""
    extrema = np.array([_over(strip, grey).getextrema() for _, strip in _strips(image)])
    lows, highs = extrema[:, :, 0].min(axis=0), extrema[:, :, 1].max(axis=0)
    return int(lows.min()), int(highs.max() - lows.min())


def _plain_png(data: bytes) -> tuple[int, int] | None:
    """Return channels and pixels of a complete 8-bit grey or RGB PNG with pixels only; or None."""
    if not data.startswith(PNG_START) or len(data) < 33:
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if depth != 8 or colour not in (0, 2) or width * height > MOST_PIXELS:
        return None
    position = 33
    while data[position + 4 : position + 8] == b"IDAT":
        position += 12 + int.from_bytes(data[position : position + 4])
    whole = data[position : position + 8] == PNG_END and position + 12 <= len(data)
    return (3 if colour else 1, width * height) if whole else None


def _plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """Return channels and pixels of a complete baseline JPEG of one scan without EXIF; or None.

    The only marker in its scan is the end, which exists. If the scan is damaged, OpenCV and Pillow
    therefore return the same pixels.
    """
    if not data.startswith(JPEG_START) or not data.endswith(JPEG_END):
        return None
    position, channels, pixels = 2, 0, 0
    while position + 10 <= len(data) and data[position] == 0xFF:
        kind, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if kind == BASELINE and not channels:
            depth, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            pixels = width * height
            if depth != 8 or pixels > MOST_PIXELS or channels not in (1, 3):
                return None
        elif kind == SCAN:
            end = MARKER.search(data, position + 2 + length)
            last = end is not None and end.start() == len(data) - 2
            return (channels, pixels) if last and data[position + 4] == channels else None
        elif kind not in PLAIN_SEGMENTS:
            return None
        position += 2 + length
    return None


def _in_mode(image: np.ndarray, mode: str | None) -> np.ndarray:
    if mode is None:
        return _without_equal_channels(image)
    if mode == ("L" if image.ndim == 2 else "RGB"):
        return image
    converted = np.empty(image.shape[:2] if mode == "L" else (*image.shape[:2], 3), np.uint8)
    for rows in _rows(image):
        converted[rows] = np.asarray(Image.fromarray(image[rows]).convert(mode))
    return converted


def _without_equal_channels(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2 or any(_has_colour(image[rows]) for rows in _rows(image)):
        return image
    return np.ascontiguousarray(image[..., 0])


def _has_colour(image: np.ndarray) -> bool:
    first = image[..., 0]
    return bool((first != image[..., 1]).any() or (first != image[..., 2]).any())


def _rows(image: np.ndarray) -> Iterator[slice]:
    """Yield the rows of strips of about `STRIP` pixels."""
    step = max(1, STRIP // max(image.shape[1], 1))
    return (slice(top, top + step) for top in range(0, image.shape[0], step))


_lock = threading.Lock()


def _renew_lock() -> None:
    """Replace the lock, which a thread of the process that forked may hold for ever."""
    global _lock  # noqa: PLW0603 - os.register_at_fork takes a function of nothing
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


@contextmanager
def _one_at_a_time(pixels: int) -> Iterator[None]:
    """Wait until this process decodes no other large image, if this image is large."""
    if pixels <= LARGE:
        yield
        return
    with _lock:
        yield
