"""CIFAR-10 and CIFAR-100: the official archives, packed or unpacked, python or binary.

Reference: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images";
Formats: https://www.cs.toronto.edu/~kriz/cifar.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tailproof.config.data import SourceConfig
from tailproof.config.splits import HELD_OUT, TRAIN
from tailproof.data.sources.archives.download import fetch
from tailproof.data.sources.archives.safe_archives import read_tar, unpickle_arrays
from tailproof.data.sources.base import (
    ArraySource,
    Block,
    Recognition,
    check_digest,
    check_labels,
    register_source,
)
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

URL = "https://www.cs.toronto.edu/~kriz"

_CIFAR10 = """
    airplane automobile bird cat deer dog frog horse ship truck
"""
_SUPERCLASSES = """
    aquatic_mammals fish flowers food_containers fruit_and_vegetables
    household_electrical_devices household_furniture insects large_carnivores
    large_man-made_outdoor_things large_natural_outdoor_scenes
    large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles
    small_mammals trees vehicles_1 vehicles_2
"""
_FINE = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach
    couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster
    house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
    pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket
    rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
    sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
    turtle wardrobe whale willow_tree wolf woman worm
"""
CLASSES = {
    "cifar10": {"class": _CIFAR10.split()},
    "cifar100": {"superclass": _SUPERCLASSES.split(), "class": _FINE.split()},
}

# Archives: SHA-256, as in Keras and TensorFlow Datasets. Unpacked python files: MD5, as torchvision
# publishes; unpacked binary files: SHA-256, as torchvision for Ruby publishes.
PINS = {
    "cifar-10-python.tar.gz": "sha256:"
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    "cifar-10-binary.tar.gz": "sha256:"
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-100-python.tar.gz": "sha256:"
    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    "cifar-100-binary.tar.gz": "sha256:"
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    "cifar-10-batches-py/data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "md5:634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "md5:40351d587109b95175f43aff81a1287e",
    "cifar-10-batches-py/batches.meta": "md5:5ff9c542aee3614f3951f8cda6e48888",
    "cifar-100-python/train": "md5:16019d7e3df5f24257cddd939b257f8d",
    "cifar-100-python/test": "md5:f0ef6b0ae62326f3e7ffdfab6717acfc",
    "cifar-100-python/meta": "md5:7973b15100ade9c7d40fb424638fde48",
    "cifar-10-batches-bin/data_batch_1.bin": "sha256:"
    "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "cifar-10-batches-bin/data_batch_2.bin": "sha256:"
    "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "cifar-10-batches-bin/data_batch_3.bin": "sha256:"
    "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "cifar-10-batches-bin/data_batch_4.bin": "sha256:"
    "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "cifar-10-batches-bin/data_batch_5.bin": "sha256:"
    "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "cifar-10-batches-bin/test_batch.bin": "sha256:"
    "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    "cifar-100-binary/train.bin": "sha256:"
    "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
    "cifar-100-binary/test.bin": "sha256:"
    "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
}


SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Layout:
    """The members of an archive.

    Attributes:
        archive: file name of the archive.
        pools: data files of each pool, in order, by their names in the archive.
        label_keys: for each rank, coarse to fine, the key of its labels (python only).
        names: for each file of class names, the key of each rank in it (None: plain text).
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


class Cifar(SourceConfig):
    """CIFAR-10 or CIFAR-100: the official archive, python or binary, packed or unpacked."""

    name: Literal["cifar10", "cifar100"]
    root: str = Field(description="Folder that contains the archive or the unpacked files.")
    format: Literal["python", "binary"] = Field("python", description="Version of the archive.")
    download: bool = Field(False, description="Download the archive to root if it is missing.")


@register_source(Cifar)
class CifarSource(ArraySource):
    """60,000 colour images of 32×32 pixels.

    The path of a sample is that of its data file in the archive.

    Args:
        config: the configuration.
        pins: checksums of archives and of their unpacked members, ``algorithm:hex`` by name.
    """

    root: Path

    def __init__(self, config: Cifar, pins: dict[str, str] = PINS) -> None:
        self.config = config
        self.root = Path(config.root)
        self.layout = LAYOUTS[config.name, config.format]
        self.ranks = tuple(CLASSES[config.name])
        self.pins = pins

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return the official archive, or a folder that contains it or its unpacked files."""
        for (name, form), layout in LAYOUTS.items():
            source = {"name": name, "root": str(path), "format": form}
            if path.is_file():
                if path.name == layout.archive:
                    source["root"] = str(path.parent)
                    return Recognition(source, f"{path.name} is the official archive")
                continue
            data_file = PurePosixPath(next(iter(layout.pools[TRAIN])))
            places = (layout.archive, str(data_file), data_file.name)
            # The files of CIFAR-100 are called train and test, as folders of others are.
            there = next((place for place in places if (path / place).is_file()), None)
            names = map(PurePosixPath, layout.names)
            if there == data_file.name and not any((path / each.name).is_file() for each in names):
                continue
            if there:
                return Recognition(source, f"it contains {there}")
        return None

    @property
    def classes(self) -> dict[str, list[str]]:
        """The official names, in the order of the labels."""
        return CLASSES[self.config.name]

    def files(self) -> list[Path]:
        """Return the archive; the unpacked data files if only those exist."""
        if not self._archive.exists() and self._unpacked:
            return [self._unpacked / PurePosixPath(name).name for name in self._data_files()]
        return [self._archive]

    def fetch(self) -> None:
        """Download the archive if neither it nor its unpacked files exist."""
        if self.config.download and not self._archive.exists() and not self._unpacked:
            pin = self.pins[self.layout.archive].removeprefix("sha256:")
            fetch(f"{URL}/{self.layout.archive}", self._archive, pin)

    def load(self) -> dict[str, Block]:
        """Read all data files and check their checksums, records, labels and class names."""
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
                f"{self._archive} has no member '{missing[0]}': fetch the archive again"
            )
        return {name: blocks[name] for name in pools}

    def _data_files(self) -> dict[str, str]:
        return {name: pool for pool, names in self.layout.pools.items() for name in names}

    def _contents(self, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        """Yield those of the wanted files that exist, from the archive or from the folder."""
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
                f"{self.root} contains neither {self.layout.archive} nor its unpacked files: copy "
                "the archive there, or set data.source.download"
            )

    def _check(self, name: str, file: Path, stream: Any) -> None:
        if name in self.pins:
            check_digest(file, stream, self.pins[name])

    @property
    def _archive(self) -> Path:
        return self.root / self.layout.archive

    @cached_property
    def _unpacked(self) -> Path | None:
        """The folder of the unpacked files: the archive's folder below root, or root itself."""
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
            raise TailproofError(
                f"{name}: expected a dictionary with {shown}: fetch the archive again"
            )
        data = batch[b"data"]
        if (
            not isinstance(data, np.ndarray)
            or data.dtype != np.uint8
            or data.shape[1:] != (PIXELS,)
        ):
            raise TailproofError(
                f"{name}: 'data' is not an array of bytes [images, {PIXELS}]: fetch it again"
            )
        columns = []
        for key in self.layout.label_keys:
            column = np.array(batch[key])
            if column.shape != data.shape[:1] or column.dtype.kind not in "iu":
                raise TailproofError(
                    f"{name}: '{key.decode()}' has the shape {column.shape}, expected a list of "
                    f"{len(data)} whole numbers, one per image: fetch it again"
                )
            columns.append(column)
        return data, columns

    def _parse_binary(self, name: str, content: bytes) -> tuple[np.ndarray, list[np.ndarray]]:
        ranks = len(self.ranks)
        length = ranks + PIXELS
        if not content or len(content) % length:
            raise TailproofError(
                f"{name} has {len(content)} bytes, expected a multiple of {length} "
                f"({quantity(ranks, 'label')} and {PIXELS} pixel values per image): fetch it again"
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, length)
        return records[:, ranks:], [records[:, rank] for rank in range(ranks)]

    def _check_names(self, file: str, content: bytes) -> None:
        for rank, key in self.layout.names[file].items():
            if key is None:
                names = [line.strip() for line in content.splitlines() if line.strip()]
            else:
                meta = unpickle_arrays(content, file)
                names = meta.get(key, []) if isinstance(meta, dict) else []
            if names != [name.encode() for name in self.classes[rank]]:
                raise TailproofError(
                    f"{file}: its class names of rank '{rank}' are not the official ones: replace "
                    "it with the file of the right dataset"
                )
