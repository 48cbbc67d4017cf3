"""Reads tar archives and pickles of other origin without extracting or executing anything."""

import io
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from tailproof.runtime.errors import TailproofError

# Names in a pickle of plain containers and numpy arrays, as numpy 1 and numpy 2 spell them.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def unpickle_arrays(content: bytes, file: str | Path) -> Any:
    """Load a pickle that contains only plain containers and numpy arrays.

    Python 2 strings become bytes.

    Raises:
        TailproofError: it is damaged, or it names another class or function, which is then not even
            imported.
    """
    try:
        return _Unpickler(io.BytesIO(content), file).load()
    except TailproofError:
        raise
    except Exception as error:  # damaged opcodes raise nearly anything
        raise TailproofError(f"{file} is a damaged pickle ({error}): fetch it again") from None


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, file: str | Path) -> None:
        super().__init__(stream, encoding="bytes")
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise TailproofError(
                f"{self._file}: the pickle asks for {module}.{name}, expected only arrays and "
                "plain containers; nothing was executed: do not use this file"
            ) from None


def read_tar(file: Path, stream: BinaryIO, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of the `wanted` members of a .tar.gz, without extracting any.

    Raises:
        TailproofError: the archive is truncated or damaged, or a member is outside its folder,
            absolute, a link or a device.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r:gz") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if (
                    path.is_absolute()
                    or ".." in path.parts
                    or not (member.isreg() or member.isdir())
                ):
                    raise TailproofError(
                        f"{file}: its member '{member.name}' is outside the folder or is not a "
                        "plain file; nothing was extracted: do not use this archive"
                    )
                if str(path) in wanted and member.isreg():
                    content = archive.extractfile(member)
                    yield str(path), content.read() if content else b""
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise TailproofError(
            f"{file} is a truncated or damaged archive ({error}): fetch it again"
        ) from None
