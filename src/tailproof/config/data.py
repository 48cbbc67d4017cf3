"""Configuration of the stages prepare, split and shard."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tailproof.config.base import Count, Fraction, Name, Positive, Strict

# Columns of samples, splits, shards and logits, beside which the ranks stand.
TAKEN = {
    "sample_id",
    "digest",
    "group",
    "pool",
    "path",
    "row",
    "height",
    "width",
    "image",
    "split",
    "weight",
    "logits",
}


def _below_root(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"'{path}' leaves root: give a path relative to root, without '..'")
    return path


def _distinct_ranks(ranks: list[str]) -> list[str]:
    for position, rank in enumerate(ranks):
        if rank in ranks[:position]:
            raise ValueError(f"'{rank}' is named twice: keep one")
        if rank in TAKEN:
            raise ValueError(f"'{rank}' is a column of tailproof's own: rename yours")
    return ranks


Column = Annotated[str, Field(min_length=1)]
BelowRoot = Annotated[str, Field(min_length=1), AfterValidator(_below_root)]
ProcessGroup = Annotated[list[Column], Field(min_length=1), AfterValidator(_distinct_ranks)]


class Digits(Strict):
    """The 1,797 handwritten digits of 8×8 pixels that scikit-learn ships."""

    name: Literal["digits"]


class Idx(Strict):
    """IDX files of the MNIST family, gzipped or not, in one folder."""

    name: Literal["idx"]
    dataset: Literal["fashion_mnist", "mnist", "other"] = Field(
        "other", description="A known dataset brings class names, ranks and pinned SHA-256 sums."
    )
    root: str = Field(description="Folder with the four IDX files.")
    download: bool = Field(
        False, description="Fetch missing files from the publisher (fashion_mnist) into root."
    )

    @model_validator(mode="after")
    def _has_publisher(self) -> "Idx":
        if self.download and self.dataset != "fashion_mnist":
            raise ValueError(
                "'download' knows a publisher of fashion_mnist only: leave it out and put the four "
                "files into root"
            )
        return self


class Cifar(Strict):
    """CIFAR-10 or CIFAR-100: the official python or binary archive, packed or unpacked."""

    name: Literal["cifar10", "cifar100"]
    root: str = Field(description="Folder with the archive, or with the unpacked files.")
    format: Literal["python", "binary"] = "python"
    download: bool = Field(False, description="Fetch the archive from its publisher into root.")


class ImageFolder(Strict):
    """One folder a class; with train and test folders above them where there are such."""

    name: Literal["image_folder"]
    root: str
    train: BelowRoot | None = Field(
        None, description="Sub-folder with the training pool's classes."
    )
    test: BelowRoot | None = Field(None, description="Sub-folder with the held-out pool's classes.")

    @model_validator(mode="after")
    def _both_or_none(self) -> "ImageFolder":
        if self.test is not None and self.train is None:
            raise ValueError("'test' names a folder but 'train' does not: give both or neither")
        return self


class LabelTable(Strict):
    """A CSV file, and the folder of the images that it names."""

    table: BelowRoot
    images: BelowRoot


class MetadataCsv(Strict):
    """CSV tables of file names and labels, images in folders; columns named as in FungiTastic."""

    name: Literal["metadata_csv"]
    root: str = Field(description="Folder that the tables and the folders of images lie in.")
    table: BelowRoot | None = Field(None, description="The CSV of a collection without a test set.")
    images: BelowRoot | None = Field(
        None, description="Folder of the images that `table` names; by default root."
    )
    train: LabelTable | None = Field(None, description="The training pool, where there is a test.")
    test: LabelTable | None = Field(None, description="The held-out pool.")
    filename: Column = Field("filename", description="Column of the images' paths in their folder.")
    ranks: ProcessGroup = Field(
        ["phylum", "class", "order", "family", "genus", "species"],
        description="Columns of the labels, coarse to fine; empty cells and NaN are no label.",
    )
    group: Column | None = Field(
        "observationID",
        description="Column of what must not be torn apart; null where every image stands alone.",
    )

    @model_validator(mode="after")
    def _one_table_or_two_pools(self) -> "MetadataCsv":
        pools = (self.train, self.test)
        if self.table is not None and pools == (None, None):
            return self
        if None in pools or self.table is not None or self.images is not None:
            raise ValueError(
                "give 'table' (and 'images') for a collection without a test set, or both 'train' "
                "and 'test', each with its 'table' and 'images'"
            )
        return self


class Parquet(Strict):
    """Somebody's parquet files with a column of encoded images: one, a folder, or partitioned."""

    name: Literal["parquet"]
    root: str = Field(description="A parquet file, or the folder that they lie in, at any depth.")
    train: BelowRoot | None = Field(
        None, description="File, folder or pattern (data/train-*.parquet) of the training pool."
    )
    test: BelowRoot | None = Field(None, description="The same of the held-out pool.")
    image: Column = Field(
        "image",
        description="Column of the images: encoded (binary, or a struct with the field bytes), or "
        "arrays of numbers (lists in lists).",
    )
    bands: Literal["first", "last"] = Field(
        "first", description="Which axis of an array has the bands; the others are height, width."
    )
    shape: Annotated[list[Count], Field(min_length=2, max_length=3)] | None = Field(
        None,
        description="Of arrays that are flat lists: [bands, height, width] or as `bands` says.",
    )
    ranks: ProcessGroup = Field(
        ["label"],
        description="Columns of the labels, coarse to fine: text, whole numbers, Hugging Face "
        "class labels, or partition columns (key=value folders).",
    )
    id: Column | None = Field(
        None, description="Column of unique sample ids; by default file and row."
    )
    group: Column | None = Field(None, description="Column of what must not be torn apart.")
    filter: dict[Name, str | int | list[str | int]] = Field(
        {}, description="Partition columns and the value or values of the files that are read."
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> "Parquet":
        if self.test is not None and self.train is None:
            raise ValueError("'test' is given but 'train' is not: give both or neither")
        return self


class Lens(Strict):
    """Simulated gravitational lenses and other galaxies, in the bands g, r, i and z."""

    name: Literal["lens"]
    lenses: Count = Field(1000, description="Galaxies with arcs around them.")
    controls: Literal["paired", "unpaired"] = Field(
        "unpaired",
        description="paired: each lens's own galaxy without its arcs, in the same split; unpaired: "
        "other galaxies.",
    )
    controls_per_lens: Count = Field(1, description="Of unpaired controls.")
    arc_brightness: Positive = Field(
        20.0,
        description="Surface brightness of the lensed source's peak before the seeing, in the "
        "sky's noise of a pixel.",
    )
    size: int = Field(32, ge=24, description="Side of the images in pixels.")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_of_a_pair(self) -> "Lens":
        if self.controls == "paired" and self.controls_per_lens > 1:
            raise ValueError("a lens has one paired control: leave controls_per_lens out")
        return self


class ScanLines(Strict):
    """Simulated scanning-tunnelling scans of dimer rows, cut into windows of consecutive lines."""

    name: Literal["scan_lines"]
    scans: Count = 200
    lines: Count = Field(128, description="Of a scan.")
    pixels: int = Field(64, ge=16, description="Of a line.")
    window: Count = Field(16, description="Lines of a sample; its class is that of the last one.")
    stride: Count = Field(8, description="Lines from one window to the next.")
    noise: float = Field(
        0.5, ge=0, description="Standard deviation, in the amplitude of the dimer rows."
    )
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "ScanLines":
        if self.window > self.lines:
            raise ValueError(f"window is {self.window}, expected at most the {self.lines} lines")
        return self


Source = Annotated[
    Digits | Idx | Cifar | ImageFolder | MetadataCsv | Parquet | Lens | ScanLines,
    Field(discriminator="name"),
]


class Natural(Strict):
    """Take every sample of the training pool, as balanced or unbalanced as it is."""

    kind: Literal["natural"] = "natural"


class LongTail(Strict):
    """Sub-sample the training pool to n_i images in class i, without replacement.

    exponential: n_i = floor(n_max · imbalance^(−i/(C−1))) (Cao et al. 2019, LDAM-DRW, section 4).
    step: the first half of the classes keeps n_max, the others have floor(n_max / imbalance).
    """

    kind: Literal["exponential", "step"]
    imbalance: float = Field(
        ge=1, description="Images in the largest class over those in the smallest."
    )
    n_max: Count | None = Field(
        None, description="Images of class 0; by default the most that the pool allows."
    )


Profile = Annotated[Natural | LongTail, Field(discriminator="kind")]


class SplitFractions(Strict):
    """Shares of the two pools. train is what val and calib leave; test what tune and dev leave."""

    val: Fraction = 0.1
    calib: Fraction = 0.1
    tune: Fraction = 0.2
    dev: Fraction = 0.2

    @model_validator(mode="after")
    def _leave_something(self) -> "SplitFractions":
        for first, second, rest in (("val", "calib", "train"), ("tune", "dev", "test")):
            if getattr(self, first) + getattr(self, second) >= 1:
                raise ValueError(f"{first} and {second} together leave nothing for {rest}")
        return self


class Data(Strict):
    """From the raw collection to six splits in shards."""

    source: Source
    target: str | None = Field(
        None, description="The taxonomic rank that is learnt; by default the finest."
    )
    positive_class: str | None = Field(
        None,
        description="Of two classes the one that is looked for; by default the rarer in train, of "
        "equals the second.",
    )
    long_tail: Profile = Natural()
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="Share that becomes the held-out pool where the source has no test set."
    )
    splits: SplitFractions = SplitFractions()
    seed: int = Field(0, ge=0)
    shards_per_split: Count = Field(
        1, description="Shards of each split; each is written by a job of its own."
    )
