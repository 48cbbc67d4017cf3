"""IDX files: Fashion-MNIST, MNIST, and other datasets in the same format.

Format: http://yann.lecun.com/exdb/mnist/ (two zero bytes, a type byte, the number of dimensions,
big-endian sizes, then the values).
"""

import gzip
import io
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from tailproof.config.data import SourceConfig
from tailproof.config.splits import HELD_OUT, TRAIN
from tailproof.data.sources.archives.download import fetch
from tailproof.data.sources.base import (
    ArraySource,
    Block,
    Recognition,
    check_digest,
    check_labels,
    register_source,
)
from tailproof.digests import sha256_bytes
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity
from tailproof.untrusted_files import read_bytes

LARGEST = 2**31  # bytes of a file; the largest of the family has 50 million
UNSIGNED_BYTE = 0x08
POOLS = {TRAIN: "train", HELD_OUT: "t10k"}
IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"
NAMES = [kind.format(part) for part in POOLS.values() for kind in (IMAGES, LABELS)]


@dataclass(frozen=True)
class PublishedDataset:
    """The published facts about a dataset.

    Attributes:
        classes: class names, in the order of the labels.
        parents: for each coarser rank, from coarse to fine, the members of its classes.
        pins: checksums of the uncompressed files, so that any gzip file of them is accepted.
        url: the publisher's folder of .gz files.
        packed: checksums of the publisher's .gz files.
        package: the folder in which a Debian package installs the files.
    """

    classes: list[str]
    pins: dict[str, str]
    parents: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    url: str = ""
    packed: dict[str, str] = field(default_factory=dict)
    package: Path | None = None


# Ranks: Seo and Shin 2019, "Hierarchical convolutional neural networks for fashion image
# classification", Expert Systems with Applications 116, figure 4.
FASHION_MNIST = PublishedDataset(
    classes=[
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
    parents={
        "category": {
            "clothes": ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Shirt"],
            "goods": ["Sandal", "Sneaker", "Bag", "Ankle boot"],
        },
        "subcategory": {
            "tops": ["T-shirt/top", "Pullover", "Shirt"],
            "bottoms": ["Trouser"],
            "dresses": ["Dress"],
            "outers": ["Coat"],
            "accessories": ["Bag"],
            "shoes": ["Sandal", "Sneaker", "Ankle boot"],
        },
    },
    pins={
        "train-images-idx3-ubyte": "sha256:"
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "sha256:"
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "sha256:"
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "sha256:"
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    package=Path("/usr/share/datasets/fashion-mnist"),  # package dataset-fashion-mnist
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    packed={
        "train-images-idx3-ubyte": (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte": (
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte": (
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte": (
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    },
)
MNIST = PublishedDataset(
    classes=[str(digit) for digit in range(10)],
    pins={
        "train-images-idx3-ubyte": "sha256:"
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "sha256:"
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "sha256:"
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "sha256:"
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)
PUBLISHED = {"fashion_mnist": FASHION_MNIST, "mnist": MNIST}


class Idx(SourceConfig):
    """IDX files of the MNIST family in one folder, gzipped or not."""

    name: Literal["idx"]
    dataset: Literal["fashion_mnist", "mnist", "other"] = Field(
        "other", description="A known dataset has class names, ranks and pinned SHA-256 checksums."
    )
    root: str = Field(description="Folder that contains the four IDX files.")
    download: bool = Field(
        False, description="Download missing files from the publisher (fashion_mnist only)."
    )

    @model_validator(mode="after")
    def _has_publisher(self) -> "Idx":
        if self.download and self.dataset != "fashion_mnist":
            raise ValueError(
                "'download' is available for fashion_mnist only: remove it and copy the four files "
                "to root"
            )
        return self


@register_source(Idx)
class IdxSource(ArraySource):
    """Reads four IDX files: images and labels of a training set and of a test set.

    Args:
        config: the configuration.
        published: facts about the dataset. Default: those of `config.dataset`; an unknown dataset
            may hold any files and any labels.
    """

    root: Path

    def __init__(self, config: Idx, published: PublishedDataset | None = None) -> None:
        self.config = config
        self.root = Path(config.root)
        self.published = published or PUBLISHED.get(config.dataset)
        self.ranks = (*(self.published.parents if self.published else ()), "class")

    @classmethod
    def recognize(cls, path: Path) -> Recognition | None:
        """Return the folder of the four files, or that in which torchvision keeps them."""
        folder = path.parent if path.is_file() else path
        if path.is_file() and path.name.removesuffix(".gz") not in NAMES:
            return None
        roots = [folder / below for below in ("", "raw", "MNIST/raw", "FashionMNIST/raw")]
        for root in roots:
            found = [name for name in NAMES if _variants(root, name)]
            if found and len(found) < len(NAMES):
                missing = next(name for name in NAMES if name not in found)
                raise TailproofError(
                    f"{root} contains {found[0]} and no {missing}: copy all four IDX files there"
                )
            if found:
                dataset = _published_as(_variants(root, NAMES[-1])[0])
                source = {"name": "idx", "dataset": dataset, "root": str(root)}
                return Recognition(source, f"{root} contains {NAMES[0]} and its three companions")
        return None

    @property
    def classes(self) -> dict[str, list[str]]:
        """The published names; for an unknown dataset, 0 to the largest label."""
        if self.published:
            coarse = {rank: list(members) for rank, members in self.published.parents.items()}
            return {**coarse, "class": self.published.classes}
        largest = max(block.labels["class"].max() for block in self.blocks.values())
        return {"class": [str(label) for label in range(largest + 1)]}

    def files(self) -> list[Path]:
        """Return the four files, plain or gzipped, whichever exists."""
        return [self._file(name) for name in NAMES]

    def fetch(self) -> None:
        """Download the publisher's gzipped files that are missing."""
        if not self.config.download or self.published is None:
            return
        for name in NAMES:
            if not self._file(name).exists():
                url = f"{self.published.url}/{name}.gz"
                fetch(url, self.root / f"{name}.gz", self.published.packed[name])

    def load(self) -> dict[str, Block]:
        """Read the four files and check their checksums, headers, counts and labels."""
        blocks = {}
        for pool, part in POOLS.items():
            image_file, label_file = (
                self._file(IMAGES.format(part)),
                self._file(LABELS.format(part)),
            )
            images = read_idx(image_file, 3, self._pin(IMAGES.format(part)))
            labels = read_idx(label_file, 1, self._pin(LABELS.format(part)))
            if len(images) != len(labels):
                raise TailproofError(
                    f"{image_file} contains {len(images)} images, but {label_file.name} contains "
                    f"{len(labels)} labels: copy both files from the same dataset"
                )
            if self.published:
                check_labels(labels, len(self.published.classes), label_file)
            blocks[image_file.name] = Block(images, self._all_ranks(labels), pool)
        return blocks

    def _all_ranks(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        labels_by_rank = {"class": labels}
        if self.published is None:
            return labels_by_rank
        for rank, members in self.published.parents.items():
            parent = [
                next(code for code, names in enumerate(members.values()) if name in names)
                for name in self.published.classes
            ]
            labels_by_rank[rank] = np.array(parent)[labels]
        return labels_by_rank

    def _file(self, name: str) -> Path:
        """Return the path in root or in the Debian package; if neither exists, that in root."""
        folders = [self.root]
        if self.published and self.published.package:
            folders.append(self.published.package)
        candidates = [folder / file for folder in folders for file in (name, f"{name}.gz")]
        return next((path for path in candidates if path.exists()), self.root / f"{name}.gz")

    def _pin(self, name: str) -> str | None:
        return self.published.pins[name] if self.published else None


def _variants(root: Path, name: str) -> list[Path]:
    """Return a file, plain or compressed, if it exists."""
    return [file for file in (root / name, root / f"{name}.gz") if file.is_file()]


def _published_as(labels: Path) -> str:
    """Return the dataset that has these labels of the test set; ``other`` if none has."""
    try:
        content = _uncompressed(labels)
    except TailproofError:
        return "other"
    pin = f"sha256:{sha256_bytes(content)}"
    known = (name for name, dataset in PUBLISHED.items() if dataset.pins[NAMES[-1]] == pin)
    return next(known, "other")


def read_idx(file: Path, dimensions: int, pin: str | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, which may be gzipped.

    Args:
        file: the file.
        dimensions: number of axes that the array must have.
        pin: checksum of the uncompressed content, ``algorithm:hex``.

    Returns:
        The values, uint8 with `dimensions` axes.

    Raises:
        TailproofError: the file is missing or damaged, or its checksum, header or length is wrong.
    """
    content = _uncompressed(file)
    if pin:
        check_digest(file, io.BytesIO(content), pin)
    start = 4 + 4 * dimensions
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise TailproofError(
            f"{file} starts with the bytes {content[:4].hex()}, expected {magic.hex()} (IDX, "
            f"unsigned bytes, {quantity(dimensions, 'dimension')}): replace it with such a file"
        )
    if len(content) < start:
        raise TailproofError(f"{file} is truncated inside its header: fetch it again")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    expected = start + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise TailproofError(
            f"{file} has {len(content)} bytes (uncompressed), but its header {shape} requires "
            f"{expected}: fetch it again"
        )
    if 0 in shape:
        raise TailproofError(f"{file} contains no values (its header is {shape}): fetch it again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _uncompressed(file: Path) -> bytes:
    if not file.exists():
        name = file.name.removesuffix(".gz")
        raise TailproofError(
            f"{file.parent} contains neither {name} nor {name}.gz: copy the four IDX files there, "
            "or set data.source.download for fashion_mnist"
        )
    content = read_bytes(file, limit=LARGEST)
    # Look at the content: some browsers unpack a .gz file and keep its name.
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            content = packed.read(LARGEST + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TailproofError(f"{file} is a damaged gzip file ({error}): fetch it again") from None
    if len(content) > LARGEST:
        raise TailproofError(
            f"{file} has more than {LARGEST} bytes when unpacked, expected a file of the MNIST "
            "family: replace it"
        )
    return content
