"""Images that stand in parquet as arrays of numbers, or as .npy bytes."""

from typing import TYPE_CHECKING

import numpy as np

from tailproof.data.multiband import encode_bands, load_array
from tailproof.runtime.errors import TailproofError

if TYPE_CHECKING:
    import pyarrow as pa


def is_array(kind: "pa.DataType") -> bool:
    """Tell whether a column holds numbers in lists, at any depth."""
    import pyarrow as pa

    if not _is_list(kind):
        return False
    while _is_list(kind):
        kind = kind.value_type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def from_lists(cell: "pa.Scalar", shape: list[int] | None, bands: str) -> bytes:
    """Return a cell as a .npy file of [height, width, bands].

    Args:
        cell: numbers in lists.
        shape: of a flat list, in the order in which its numbers stand.
        bands: ``first`` or ``last`` among the axes.

    Raises:
        TailproofError: its lists differ in length, hold gaps, or do not have the shape.
    """
    import pyarrow.compute as pc

    values, found = cell.values, [len(cell.values)]
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise TailproofError(
                f"its lists of axis {len(found)} have the lengths "
                f"{', '.join(map(str, lengths[:4]))}, expected one length"
            )
        values = values.flatten()
        found.append(lengths[0])
    if values.null_count:
        raise TailproofError(f"{values.null_count} of its pixels are null: fill them in before")
    numbers = values.to_numpy(zero_copy_only=False)
    if len(found) == 1:
        found = _shape_of_flat(len(numbers), shape)
    return as_npy(numbers.reshape(found), bands)


def from_npy(data: bytes, bands: str) -> bytes:
    """Return a .npy file as one of [height, width, bands]."""
    return data if bands == "last" else as_npy(load_array(data), bands)


def as_npy(array: np.ndarray, bands: str) -> bytes:
    """Encode an array whose bands are the first or the last of three axes."""
    if array.ndim == 3 and bands == "first":
        array = np.moveaxis(array, 0, 2)
    with np.errstate(over="ignore"):  # what becomes infinite is told when it is decoded
        return encode_bands(array)


def _shape_of_flat(count: int, shape: list[int] | None) -> list[int]:
    if shape is None:
        raise TailproofError(
            f"it is a flat list of {count} numbers: give their data.source.shape, such as "
            "[bands, height, width]"
        )
    if int(np.prod(shape)) != count:
        raise TailproofError(
            f"it holds {count} numbers, data.source.shape {shape} makes {int(np.prod(shape))}"
        )
    return shape


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    types = pa.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
