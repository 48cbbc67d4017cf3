"""IDX files: Fashion-MNIST, MNIST, and others of their layout.

Format: http://yann.lecun.com/exdb/mnist/ (two zero bytes, a type byte, the number of dimensions,
big-endian sizes, then the values).
"""

import gzip
import io
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tailproof.config.data import Idx
from tailproof.data.sources.base import (
    HELD_OUT,
    TRAIN,
    ArraySource,
    Block,
    check_digest,
    check_labels,
)
from tailproof.data.sources.download import fetch
from tailproof.runtime.errors import TailproofError

UNSIGNED_BYTE = 0x08
POOLS = {TRAIN: "train", HELD_OUT: "t10k"}
IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"
NAMES = [kind.format(part) for part in POOLS.values() for kind in (IMAGES, LABELS)]


@dataclass(frozen=True)
class Known:
    """What is published of a dataset.

    Attributes:
        classes: the names of the label's classes, in order.
        parents: for each coarser rank, coarse to fine, the members of its classes.
        pins: sums of the uncompressed files, so that any gzip of them passes.
        url: the publisher's folder, with the .gz files.
        packed: sums of the publisher's .gz files.
        package: where a Debian package installs the files.
    """

    classes: list[str]
    pins: dict[str, str]
    parents: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    url: str = ""
    packed: dict[str, str] = field(default_factory=dict)
    package: Path | None = None


# Ranks: Seo and Shin 2019, "Hierarchical convolutional neural networks for fashion image
# classification", Expert Systems with Applications 116, figure 4.
FASHION_MNIST = Known(
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
    package=Path("/usr/share/datasets/fashion-mnist"),  # of dataset-fashion-mnist
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
MNIST = Known(
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
KNOWN = {"fashion_mnist": FASHION_MNIST, "mnist": MNIST}


class IdxSource(ArraySource):
    """Four IDX files: images and labels of a training and a test set.

    `known` says what is published of the dataset; None takes any files and any labels.
    """

    def __init__(self, config: Idx, known: Known | None = None) -> None:
        self.config = config
        self.root = Path(config.root)
        self.known = known or KNOWN.get(config.dataset)
        self.ranks = (*(self.known.parents if self.known else ()), "class")

    @property
    def classes(self) -> dict[str, list[str]]:
        """Published names; for an unknown dataset 0 to the largest label seen."""
        if self.known:
            coarse = {rank: list(members) for rank, members in self.known.parents.items()}
            return {**coarse, "class": self.known.classes}
        largest = max(block.labels["class"].max() for block in self.blocks.values())
        return {"class": [str(label) for label in range(largest + 1)]}

    def files(self) -> list[Path]:
        """Return the four files, plain or gzipped, whichever is there."""
        return [self._file(name) for name in NAMES]

    def fetch(self) -> None:
        """Download the missing ones of the publisher's gzipped files."""
        if not self.config.download:
            return
        for name in NAMES:
            if not self._file(name).exists():
                url = f"{self.known.url}/{name}.gz"
                fetch(url, self.root / f"{name}.gz", self.known.packed[name])

    def load(self) -> dict[str, Block]:
        """Read the four files and check their sums, headers, counts and labels."""
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
                    f"{image_file} holds {len(images)} images but {label_file.name} {len(labels)} "
                    "labels: they do not belong together"
                )
            if self.known:
                check_labels(labels, len(self.known.classes), label_file)
            blocks[image_file.name] = Block(images, self._all_ranks(labels), pool)
        return blocks

    def _all_ranks(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        result = {"class": labels}
        for rank, members in self.known.parents.items() if self.known else ():
            parent = [
                next(code for code, names in enumerate(members.values()) if name in names)
                for name in self.known.classes
            ]
            result[rank] = np.array(parent)[labels]
        return result

    def _file(self, name: str) -> Path:
        """Return the file in root or in the Debian package, or where it should be."""
        folders = [self.root]
        if self.known and self.known.package:
            folders.append(self.known.package)
        found = [folder / file for folder in folders for file in (name, f"{name}.gz")]
        return next((path for path in found if path.exists()), self.root / f"{name}.gz")

    def _pin(self, name: str) -> str | None:
        return self.known.pins[name] if self.known else None


def read_idx(file: Path, dimensions: int, pin: str | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Args:
        file: the file.
        dimensions: how many the array must have.
        pin: the sum of the uncompressed content, ``algorithm:hex``.

    Returns:
        uint8 with `dimensions` axes.

    Raises:
        TailproofError: it is missing, damaged, has another sum, or another header or length.
    """
    content = _uncompressed(file)
    if pin:
        check_digest(file, io.BytesIO(content), pin)
    start = 4 + 4 * dimensions
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise TailproofError(
            f"{file}: it starts with the bytes {content[:4].hex()}, expected {magic.hex()} (IDX, "
            f"unsigned bytes, {dimensions} dimension(s)); it is another kind of file"
        )
    if len(content) < start:
        raise TailproofError(f"{file}: truncated inside its header; fetch it again")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    expected = start + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise TailproofError(
            f"{file}: {len(content)} bytes (uncompressed), but its header {shape} asks for "
            f"{expected}; it is truncated or has bytes appended: fetch it again"
        )
    if 0 in shape:
        raise TailproofError(f"{file}: its header {shape} says that it is empty")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _uncompressed(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        # By content: some browsers unpack a .gz file and keep its name.
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        name = file.name.removesuffix(".gz")
        raise TailproofError(
            f"{file.parent} holds neither {name} nor {name}.gz: put the four IDX files there, or "
            "set data.source.download for fashion_mnist"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TailproofError(f"{file}: damaged gzip file ({error}); fetch it again") from None
    except OSError as error:
        raise TailproofError(f"{file} cannot be read: {error.strerror}") from None
