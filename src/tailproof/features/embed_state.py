"""What an unfinished job of the stage embed has computed: a log of finished batches."""

import struct
import zlib
from pathlib import Path

import numpy as np

from tailproof.runtime.errors import TailproofError

HEADER = struct.Struct("<QI")  # bytes and checksum of a batch


class BatchLog:
    """The finished batches of one split, one after the other in a file.

    A process that is killed while it writes leaves half a batch, which the next one removes.

    Args:
        path: the file.
        width: number of features of a row.
        dtype: their type.
    """

    def __init__(self, path: Path, width: int, dtype: np.dtype) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._width, self._dtype, self._starts = width, dtype, list[int]()
        self._path, self._file = path, path.open("r+b")
        end = 0
        while self._read() is not None:
            self._starts.append(end)
            end = self._file.tell()
        self._file.truncate(end)
        self._end = end

    def __len__(self) -> int:
        return len(self._starts)

    def append(self, features: np.ndarray) -> None:
        """Add the features of the next batch, [B, width]."""
        data = np.ascontiguousarray(features, self._dtype).tobytes()
        self._file.seek(self._end)
        self._file.write(HEADER.pack(len(data), zlib.crc32(data)) + data)
        self._file.flush()
        self._starts.append(self._end)
        self._end = self._file.tell()

    def read(self, number: int) -> np.ndarray:
        """Return the features of a batch, [B, width].

        Raises:
            TailproofError: the file is damaged.
        """
        self._file.seek(self._starts[number])
        data = self._read()
        if data is None:
            raise TailproofError(f"{self._path} is damaged: delete it and run snakemake again")
        return np.frombuffer(data, self._dtype).reshape(-1, self._width)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> bytes | None:
        """Return the batch at the position of the file; None if it is not whole."""
        header = self._file.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        size, checksum = HEADER.unpack(header)
        left = self._path.stat().st_size - self._file.tell()
        if not 0 < size <= left:  # a header that is not one, such as zeros after a power cut
            return None
        data = self._file.read(size)
        return data if zlib.crc32(data) == checksum else None
