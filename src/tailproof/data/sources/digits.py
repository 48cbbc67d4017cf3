"""The handwritten digits that scikit-learn ships."""

from pathlib import Path

import numpy as np

from tailproof.config.data import Digits
from tailproof.data.sources.base import ArraySource, Block


class DigitsSource(ArraySource):
    """1,797 greyscale images of 8×8 pixels, ten classes, no test set of their own.

    Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI (its test part).
    """

    classes = {"class": [str(digit) for digit in range(10)]}  # noqa: RUF012

    def __init__(self, config: Digits) -> None:
        self.config = config

    def files(self) -> list[Path]:
        """Return no file: the images come with scikit-learn."""
        return []

    def load(self) -> dict[str, Block]:
        """Scale the values 0…16 to 0…255: round(v·255/16), which keeps all 17 apart."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return {"digits.csv.gz": Block(images, {"class": digits.target})}
