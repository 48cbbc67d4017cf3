"""CIFAR-10 and CIFAR-100: the official archives, packed or unpacked, python or binary.

Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images";
formats: https://www.cs.toronto.edu/~kriz/cifar.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tailproof.core.config.data import Cifar
from tailproof.core.errors import TailproofError
from tailproof.data.sources.base import (
    HELD_OUT,
    TRAIN,
    ArraySource,
    Block,
    check_digest,
    check_labels,
)
from tailproof.data.sources.cifar_published import CLASSES, PINS, URL
from tailproof.data.sources.download import fetch
from tailproof.data.sources.foreign import read_tar, unpickle_arrays

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Layout:
    """Where an archive keeps what.

    Attributes:
        archive: its file name.
        pools: data files by pool, in order, as the archive names them.
        label_keys: the key of each rank's labels, coarse to fine (python only).
        names: file with the class names -> the ranks it names and their keys (None: plain text).
    """

    archive: str
    pools: dict[str, list[str]]
    label_keys: tuple[bytes, ...]
    names: dict[str, dict[str, bytes | None]]


LAYOUTS = {
    ("cifar10", "python"): Layout(
        "cifar-10-python.tar.gz",
        {
            TRAIN: [f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)],
            HELD_OUT: ["cifar-10-batches-py/test_batch"],
        },
        (b"labels",),
        {"cifar-10-batches-py/batches.meta": {"class": b"label_names"}},
    ),
    ("cifar10", "binary"): Layout(
        "cifar-10-binary.tar.gz",
        {
            TRAIN: [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)],
            HELD_OUT: ["cifar-10-batches-bin/test_batch.bin"],
        },
        (),
        {"cifar-10-batches-bin/batches.meta.txt": {"class": None}},
    ),
    ("cifar100", "python"): Layout(
        "cifar-100-python.tar.gz",
        {TRAIN: ["cifar-100-python/train"], HELD_OUT: ["cifar-100-python/test"]},
        (b"coarse_labels", b"fine_labels"),
        {
            "cifar-100-python/meta": {
                "superclass": b"coarse_label_names",
                "class": b"fine_label_names",
            }
        },
    ),
    ("cifar100", "binary"): Layout(
        "cifar-100-binary.tar.gz",
        {TRAIN: ["cifar-100-binary/train.bin"], HELD_OUT: ["cifar-100-binary/test.bin"]},
        (),
        {
            "cifar-100-binary/coarse_label_names.txt": {"superclass": None},
            "cifar-100-binary/fine_label_names.txt": {"class": None},
        },
    ),
}


class CifarSource(ArraySource):
    """60,000 colour images of 32×32 pixels; a sample's path is the data file's in the archive.

    `pins` are the sums of archives and of their unpacked members, ``algorithm:hex`` by name.
    """

    def __init__(self, config: Cifar, pins: dict[str, str] = PINS) -> None:
        self.config = config
        self.root = Path(config.root)
        self.layout = LAYOUTS[config.name, config.format]
        self.ranks = tuple(CLASSES[config.name])
        self.pins = pins

    @property
    def classes(self) -> dict[str, list[str]]:
        """The official names, in the order of the labels."""
        return CLASSES[self.config.name]

    def files(self) -> list[Path]:
        """Return the archive, or the data files where they lie unpacked and it does not."""
        if not self._archive.exists() and self._unpacked:
            return [self._unpacked / PurePosixPath(name).name for name in self._data_files()]
        return [self._archive]

    def fetch(self) -> None:
        """Download the archive where neither it nor its files are there."""
        if self.config.download and not self._archive.exists() and not self._unpacked:
            pin = self.pins[self.layout.archive].removeprefix("sha256:")
            fetch(f"{URL}/{self.layout.archive}", self._archive, pin)

    def load(self) -> dict[str, Block]:
        """Read all data files and check their sums, records, labels and class names."""
        pools = self._data_files()
        blocks = {}
        for name, content in self._contents({*pools, *self.layout.names}):
            if name in pools:
                blocks[name] = self._block(name, content, pools[name])
            else:
                self._check_names(name, content)
        missing = [name for name in pools if name not in blocks]
        if missing:
            raise TailproofError(
                f"{self._archive}: it has no member '{missing[0]}'; fetch the archive again"
            )
        return {name: blocks[name] for name in pools}

    def _data_files(self) -> dict[str, str]:
        return {name: pool for pool, names in self.layout.pools.items() for name in names}

    def _contents(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the wanted files that are there, from the archive or from the folder."""
        if self._archive.exists():
            with self._archive.open("rb") as stream:
                self._check(self.layout.archive, self._archive, stream)
                stream.seek(0)
                yield from read_tar(self._archive, stream, wanted)
        elif self._unpacked:
            for name in sorted(wanted):
                file = self._unpacked / PurePosixPath(name).name
                if file.exists():
                    with file.open("rb") as stream:
                        self._check(name, file, stream)
                    yield name, file.read_bytes()
                elif name not in self.layout.names:
                    raise TailproofError(f"{file} is missing: unpack {self.layout.archive} again")
        else:
            raise TailproofError(
                f"{self.root} holds neither {self.layout.archive} nor its unpacked files: put it "
                "there, or set data.source.download"
            )

    def _check(self, name: str, file: Path, stream: Any) -> None:
        if name in self.pins:
            check_digest(file, stream, self.pins[name])

    @property
    def _archive(self) -> Path:
        return self.root / self.layout.archive

    @cached_property
    def _unpacked(self) -> Path | None:
        """The folder with the unpacked files: the archive's own below root, or root itself."""
        first = PurePosixPath(next(iter(self._data_files())))
        folders = [self.root / first.parent, self.root]
        return next((folder for folder in folders if (folder / first.name).exists()), None)

    def _block(self, name: str, content: bytes, pool: str) -> Block:
        parse = self._parse_python if self.config.format == "python" else self._parse_binary
        pixels, columns = parse(name, content)
        labels = {}
        for rank, column in zip(self.ranks, columns, strict=True):
            check_labels(column, len(self.classes[rank]), name)
            labels[rank] = column
        planes = pixels.reshape(-1, 3, SIDE, SIDE)
        return Block(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels, pool)

    def _parse_python(self, name: str, content: bytes) -> tuple[np.ndarray, list[np.ndarray]]:
        batch = unpickle_arrays(content, name)
        keys = (b"data", *self.layout.label_keys)
        if not isinstance(batch, dict) or any(key not in batch for key in keys):
            shown = ", ".join(key.decode() for key in keys)
            raise TailproofError(f"{name}: expected a dictionary with {shown}; it is no CIFAR file")
        data = batch[b"data"]
        if (
            not isinstance(data, np.ndarray)
            or data.dtype != np.uint8
            or data.shape[1:] != (PIXELS,)
        ):
            raise TailproofError(f"{name}: 'data' is no array of bytes, [images, {PIXELS}]")
        columns = []
        for key in self.layout.label_keys:
            column = np.array(batch[key])
            if column.shape != data.shape[:1] or column.dtype.kind not in "iu":
                raise TailproofError(
                    f"{name}: {len(data)} images, but '{key.decode()}' is not a list of as many "
                    f"whole numbers (shape {column.shape})"
                )
            columns.append(column)
        return data, columns

    def _parse_binary(self, name: str, content: bytes) -> tuple[np.ndarray, list[np.ndarray]]:
        ranks = len(self.ranks)
        length = ranks + PIXELS
        if not content or len(content) % length:
            raise TailproofError(
                f"{name}: {len(content)} bytes, expected a multiple of {length} ({ranks} label(s) "
                f"and {PIXELS} pixel values an image); it is truncated or another kind of file"
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, length)
        return records[:, ranks:], [records[:, rank] for rank in range(ranks)]

    def _check_names(self, file: str, content: bytes) -> None:
        for rank, key in self.layout.names[file].items():
            if key is None:
                found = [line.strip() for line in content.splitlines() if line.strip()]
            else:
                meta = unpickle_arrays(content, file)
                found = meta.get(key) if isinstance(meta, dict) else None
            if found != [name.encode() for name in self.classes[rank]]:
                raise TailproofError(
                    f"{file}: its class names of rank '{rank}' are not the official ones; it "
                    "belongs to another dataset"
                )
