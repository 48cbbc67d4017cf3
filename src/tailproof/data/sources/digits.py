"""The handwritten digits that scikit-learn contains."""

from pathlib import Path
from typing import Literal

import numpy as np

from tailproof.config.data import SourceConfig
from tailproof.data.sources.base import ArraySource, Block, register_source


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
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return {"digits.csv.gz": Block(images, {"class": digits.target})}
