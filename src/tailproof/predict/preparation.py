"""What a network takes of an image."""

from typing import NamedTuple


class Preparation(NamedTuple):
    """What a network takes of an image, before normalization.

    Attributes:
        shape: channels, height and width.
        interpolation: how images are resized to it.
    """

    shape: tuple[int, int, int]
    interpolation: str
