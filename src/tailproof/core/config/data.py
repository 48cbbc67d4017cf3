"""Configuration of the stages prepare, split and shard."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tailproof.core.config.base import Count, Fraction, Strict


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
    train: str | None = Field(None, description="Sub-folder with the training pool's classes.")
    test: str | None = Field(None, description="Sub-folder with the held-out pool's classes.")

    @model_validator(mode="after")
    def _both_or_none(self) -> "ImageFolder":
        if self.test is not None and self.train is None:
            raise ValueError("'test' names a folder but 'train' does not: give both or neither")
        return self


Source = Annotated[Digits | Idx | Cifar | ImageFolder, Field(discriminator="name")]


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
    profile: Profile = Natural()
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="Share that becomes the held-out pool where the source has no test set."
    )
    splits: SplitFractions = SplitFractions()
    seed: int = Field(0, ge=0)
    parts: Count = Field(1, description="Shards a split; each is written by a job of its own.")
