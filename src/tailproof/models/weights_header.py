"""Reads the header of a .safetensors file: which tensors it holds, before any memory is allocated.

The format: the length of the header in 8 bytes, little-endian; the header, a JSON object of
``{name: {"dtype": …, "shape": […], "data_offsets": [start, end]}}``; the tensors.
https://huggingface.co/docs/safetensors
"""

import os
from math import prod
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from tailproof.config.base import Strict
from tailproof.files import parse_json
from tailproof.runtime.errors import TailproofError
from tailproof.untrusted_files import open_regular

LONGEST = 32 * 2**20
"""Bytes of the longest accepted header: some 300,000 tensors."""

BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8,
    "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Size of an element of each type."""

Whole = Annotated[int, Field(ge=0, lt=2**63)]


class TensorType(NamedTuple):
    """The type and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        """Return ``F32 [64, 3, 7, 7]``."""
        return f"{self.dtype} {list(self.shape)}"

    @property
    def bytes(self) -> int:
        """Its size."""
        return prod(self.shape) * BYTES[self.dtype]


class _Entry(Strict):
    dtype: str
    shape: Annotated[list[Whole], Field(max_length=8)]
    data_offsets: Annotated[list[Whole], Field(min_length=2, max_length=2)]


_ENTRIES = TypeAdapter(dict[str, _Entry])


def read_header(path: str | Path) -> dict[str, TensorType]:
    """Return the type of each tensor of a .safetensors file.

    Raises:
        TailproofError: the file is missing, not a regular file or truncated, or its header does not
            describe its content: a tensor has an unknown type, tensors overlap or leave a gap.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST):
            raise _damaged(path, f"it has {size} bytes, but its header would have {length}")
        text = file.read(length)
    try:
        value = parse_json(text.decode())
        if isinstance(value, dict):
            value.pop("__metadata__", None)
        entries = _ENTRIES.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"its header is wrong at {where!a:.80} ({first['msg']})") from None
    except ValueError as error:
        raise _damaged(path, f"its header is not JSON ({error})") from None
    if not entries:
        raise _damaged(path, "it has no tensors")
    _check_offsets(path, entries, size - 8 - length)
    return {name: TensorType(entry.dtype, tuple(entry.shape)) for name, entry in entries.items()}


def _check_offsets(path: str | Path, entries: dict[str, _Entry], size: int) -> None:
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.dtype not in BYTES:
            raise _damaged(path, f"{name!a:.80} has the unknown type {entry.dtype!a:.80}")
        start, expected = end, end + TensorType(entry.dtype, tuple(entry.shape)).bytes
        if entry.data_offsets != [start, expected]:
            raise _damaged(
                path,
                f"{name!a:.80} lies at the bytes {entry.data_offsets}, expected "
                f"{[start, expected]}",
            )
        end = expected
    if end != size:
        raise _damaged(path, f"its tensors have {size} bytes, but its header says {end}")


def _damaged(path: str | Path, why: str) -> TailproofError:
    return TailproofError(f"{path} is not a whole .safetensors file: {why}: copy it again")
