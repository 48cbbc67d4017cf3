"""The sections augmentation and mixing of a recipe."""

from pydantic import Field

from tailproof.config.base import Fraction, Strict
from tailproof.config.transforms import Albumentation, TorchvisionTransform


class Augmentation(Strict):
    """Augmentation of training images; identical for cached and streamed images."""

    crop_padding: int = Field(
        0,
        ge=0,
        description="Random crop after padding each side with this many black pixels; 0 is off.",
    )
    flip: bool = Field(False, description="Flip left to right with probability 0.5.")
    cutout: int = Field(
        0, ge=0, description="Side in pixels of a square set to the mean colour; 0 is off."
    )
    line_dropout: Fraction = Field(
        0.0, description="Probability that a line of the image is set to the mean."
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="Standard deviation of Gaussian noise, in units of normalized pixels. For "
        "small arrays; for large images use the albumentations transform GaussNoise.",
    )
    albumentations: list[Albumentation] = Field(
        default_factory=list,
        description="Transforms of albumentations, applied to each image in the loader workers, "
        "before all others.",
    )
    torchvision: list[TorchvisionTransform] = Field(
        default_factory=list,
        description="Transforms of torchvision.transforms.v2, applied to each image in the loader "
        "workers, after those of albumentations and before all others.",
    )


class Mixing(Strict):
    """MixUp and CutMix, as implemented by timm."""

    mixup: float = Field(
        0.0, ge=0, description="alpha of the Beta distribution for MixUp; 0 is off."
    )
    cutmix: float = Field(
        0.0, ge=0, description="alpha of the Beta distribution for CutMix; 0 is off."
    )
    probability: Fraction = Field(1.0, description="Probability of mixing a batch.")
    switch_probability: Fraction = Field(
        0.5, description="Probability of CutMix instead of MixUp if both are on."
    )
