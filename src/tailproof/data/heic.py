"""HEIC pictures, as phones take them, become PNG before a stage or a shard holds them.

Only here is the optional package pillow-heif imported. The stages that train and predict read
shards, so they need no such package, and neither does another reader of the shards.
"""

import io
import math

from PIL import Image

from tailproof.data.image_formats import kind_of
from tailproof.runtime.errors import TailproofError

FAST = 1  # level of PNG's compression; the default takes five times as long for 10 % less


def without_heic(data: bytes) -> bytes:
    """Return a HEIC picture as PNG with the same pixels and profile, and other bytes unchanged.

    Raises:
        TailproofError: it does not decode, or pillow-heif is not installed.
    """
    if data[4:8] != b"ftyp" or kind_of(data) != "HEIC":
        return data
    try:
        from pillow_heif import open_heif
    except ImportError:
        raise TailproofError(
            "it is a HEIC picture, which needs the package pillow-heif: run `pip install "
            "pillow-heif`, or convert the picture to JPEG"
        ) from None
    try:
        file = open_heif(data)
        _check_size(*file.size)
        picture = file.to_pillow()  # turned upright
        encoded = io.BytesIO()
        picture.convert("RGBA" if picture.mode == "RGBa" else picture.mode).save(
            encoded, "PNG", compress_level=FAST, icc_profile=picture.info.get("icc_profile")
        )
    except TailproofError:  # a signal may arrive at any time
        raise
    except Exception as error:
        raise TailproofError(
            f"it is a HEIC picture, but cannot be decoded ({error}): export it as JPEG"
        ) from error
    return encoded.getvalue()


def _check_size(width: int, height: int) -> None:
    """Refuse what Pillow refuses in its own formats."""
    if width * height > 2 * (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(f"it has {width} × {height} pixels, which are too many: shrink it")
