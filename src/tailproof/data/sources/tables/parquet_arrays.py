"""Images stored in parquet as arrays of numbers or as .npy bytes."""

from typing import TYPE_CHECKING

import numpy as np

from tailproof.data.multiband import encode_bands, load_array
from tailproof.runtime.errors import TailproofError
from tailproof.text import listed, quantity

if TYPE_CHECKING:
    import pyarrow as pa


def is_array(kind: "pa.DataType") -> bool:
    """Return whether a column contains lists of numbers, at any depth."""
    import pyarrow as pa

    if not _is_list(kind):
        return False
    while _is_list(kind):
        kind = kind.value_type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def from_lists(cell: "pa.Scalar", shape: list[int] | None, bands: str) -> bytes:
    """Return a cell as a .npy file of [height, width, bands].

    Args:
        cell: lists of numbers.
        shape: shape of a flat list, in the order of its numbers.
        bands: position of the band axis, ``first`` or ``last``.

    Raises:
        TailproofError: its lists have different lengths, contain nulls, or do not fit the shape.
    """
    import pyarrow.compute as pc

    values, axes = cell.values, [len(cell.values)]
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            shown = ["null" if length is None else str(length) for length in lengths]
            raise TailproofError(
                f"its lists of axis {len(axes)} have the lengths {listed(shown, 4)}, expected one "
                "length: correct the array"
            )
        values = values.flatten()
        axes.append(lengths[0])
    if values.null_count:
        raise TailproofError(
            f"{quantity(values.null_count, 'of its pixels is', 'of its pixels are')} null: replace "
            "null with numbers"
        )
    numbers = values.to_numpy(zero_copy_only=False)
    if len(axes) == 1:
        axes = _shape_of_flat(len(numbers), shape)
    return as_npy(numbers.reshape(axes), bands)


def from_npy(data: bytes, bands: str) -> bytes:
    """Return a .npy file with the axes [height, width, bands]."""
    return data if bands == "last" else as_npy(load_array(data), bands)


def as_npy(array: np.ndarray, bands: str) -> bytes:
    """Encode an array whose band axis is the first or the last of three."""
    if array.ndim == 3 and bands == "first":
        array = np.moveaxis(array, 0, 2)
    with np.errstate(over="ignore"):  # decoding reports what became infinite
        return encode_bands(array)


def _shape_of_flat(count: int, shape: list[int] | None) -> list[int]:
    if shape is None:
        raise TailproofError(
            f"it is a flat list of {count} numbers: set data.source.shape, such as "
            "[bands, height, width]"
        )
    if int(np.prod(shape)) != count:
        raise TailproofError(
            f"it contains {count} numbers, but data.source.shape {shape} needs "
            f"{int(np.prod(shape))}: correct data.source.shape"
        )
    return shape


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    types = pa.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
