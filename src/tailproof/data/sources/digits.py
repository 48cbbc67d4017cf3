"""The handwritten digits that scikit-learn contains."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tailproof.config.data import SourceConfig
from tailproof.data.sources.base import ArraySource, Block, register_source
from tailproof.files import package_folder

if TYPE_CHECKING:
    import sklearn  # noqa: F401 - its version is part of the code digest, see load()

FILE = "digits.csv.gz"


class Digits(SourceConfig):
    """The 1,797 handwritten digits of 8×8 pixels that scikit-learn contains."""

    name: Literal["digits"]


@register_source(Digits)
class DigitsSource(ArraySource):
    """1,797 greyscale images of 8×8 pixels in ten classes, without a test set.

    Reference: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI
    (the test part).
    """

    classes = {"class": [str(digit) for digit in range(10)]}  # noqa: RUF012

    def __init__(self, config: Digits) -> None:
        self.config = config

    def files(self) -> list[Path]:
        """Return no files: the images are part of scikit-learn."""
        return []

    def load(self) -> dict[str, Block]:
        """Scale the 17 values 0…16 to 0…255 by round(v·255/16), which keeps them distinct."""
        # Read as sklearn.datasets does, whose import would take longer than a whole shard.
        table = np.loadtxt(package_folder("sklearn") / "datasets" / "data" / FILE, delimiter=",")
        images = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        return {FILE: Block(images, {"class": table[:, -1].astype(int)})}
