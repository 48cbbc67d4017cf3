"""Images other than 8-bit pictures: float32 arrays [H, W, bands] as .npy files.

The format is that of numpy, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html:
``np.load(io.BytesIO(data))`` reads it.
"""

import io

import numpy as np

from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

MODE = "float32"
START = b"\x93NUMPY"
VIEWED = (0.5, 99.5)  # percentiles shown as black and white


def encode_bands(image: np.ndarray) -> bytes:
    """Encode an array [H, W, bands]. The same array gives the same bytes."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(image, np.float32), allow_pickle=False)
    return file.getvalue()


def load_array(data: bytes) -> np.ndarray:
    """Return the numbers of a .npy file unchanged.

    Raises:
        TailproofError: the file is damaged or contains something other than numbers.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, MemoryError) as error:
        raise TailproofError(
            f"it cannot be read as a .npy array ({error}): save it again with numpy.save"
        ) from error
    if array.dtype.kind not in "fiu":
        raise TailproofError(
            f"it is an array of {array.dtype}, expected numbers: save it as float32"
        )
    return array


def decode_bands(data: bytes) -> np.ndarray:
    """Decode a .npy file to float32 [H, W, bands].

    Raises:
        TailproofError: the file is damaged, the number of axes is wrong, or a pixel is NaN,
            infinite, or too large for float32.
    """
    array = load_array(data)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not array.size:
        raise TailproofError(
            f"its array has the shape {list(array.shape)}, expected [height, width, bands]: "
            "reshape it"
        )
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(array, np.float32)
    finite = np.isfinite(image)
    if not finite.all():
        bad = np.argwhere(~finite)
        row, column, band = bad[0].tolist()
        raise TailproofError(
            f"{quantity(len(bad), 'of its pixels is', 'of its pixels are')} NaN or infinite, the "
            f"first in band {band}, row {row}, column {column}: replace such pixels with numbers"
        )
    return image


def viewable(image: np.ndarray) -> np.ndarray:
    """Convert bands to a picture for people, uint8 [H, W, 3] or [H, W].

    With three or more bands, the last, middle and first one are shown as red, green and blue,
    because bands are ordered from short to long wavelengths. The inverse hyperbolic sine shows
    faint and bright objects together.
    """
    bands = image.shape[2]
    chosen = image[:, :, [bands - 1, bands // 2, 0]] if bands > 2 else image.mean(2)
    spread = np.median(np.abs(chosen - np.median(chosen))) or 1.0
    stretched = np.arcsinh(chosen / (3 * spread))
    low, high = np.percentile(stretched, VIEWED)
    scaled = (stretched - low) / max(high - low, 1e-12)
    return np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
