"""Configuration of the networks of a recipe: their weights, and the features that are stored."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, Field, model_validator

from tailproof.config.base import Count, Fraction, Strict
from tailproof.config.transforms import Albumentation, TorchvisionTransform
from tailproof.config.weights import HUB
from tailproof.digests import digest_of


class Model(Strict):
    """Any model of timm's registry, to which Tailproof adds `cifar_resnet32` and others."""

    name: str = Field("cifar_resnet32", description="Model name as in timm.list_models().")
    weights: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Weights to start from: hub (those that timm publishes for the model), or the "
        "path of a checkpoint, of a folder of timm or of an expert. Default: random weights.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the model, e.g. {classifier: cosine} or {drop_path_rate: 0.1}.",
    )

    @property
    def weights_key(self) -> str | None:
        """The name of the weights' file in the folder `weights`; None for random weights.

        For weights of the hub it is the model's name, so that it can be fetched by name.
        """
        if self.weights in (None, HUB):
            return self.name if self.weights else None
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(self.weights).stem)
        return f"{self.name}--{stem}--{digest_of([self.name, self.weights])[:8]}"


class Augmentation(Strict):
    """Augmentation of training images; identical for cached and streamed images."""

    crop_padding: int = Field(
        0,
        ge=0,
        description="Random crop after padding each side by so many black pixels; 0 is off.",
    )
    flip: bool = Field(False, description="Flip left to right with probability 0.5.")
    cutout: int = Field(
        0, ge=0, description="Side in pixels of a square set to the mean colour; 0 is off."
    )
    line_dropout: Fraction = Field(
        0.0, description="Probability of each image line being set to the mean."
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


Layer = Literal["penultimate", "last"]

LAYERS: tuple[str, ...] = get_args(Layer)
"""What of a backbone can be stored as features; see `tailproof.models.backbone_layers`."""


def _layers_differ(layers: list[str]) -> list[str]:
    for position, layer in enumerate(layers):
        if layer in layers[:position]:
            raise ValueError(f"'{layer}' is listed twice: remove one")
    return layers


Layers = Annotated[
    list[Layer],
    Field(
        min_length=1,
        description="penultimate: what the classifier of the backbone gets. last: its last feature "
        "map, averaged over all positions; of a transformer the class token and the average of the "
        "other tokens, one after the other. Several are concatenated.",
    ),
    AfterValidator(_layers_differ),
]

Side = Annotated[
    Count | None,
    Field(description="Side of the images in pixels. Default: that of the backbone's weights."),
]


class Features(Strict):
    """Features of a frozen backbone, on which an expert is trained as a head.

    They are computed once and stored in the folder `features`. All experts, seeds and experiments
    with the same data section, weights and features share them.
    """

    size: Side = None
    layers: Layers = Field(["penultimate"])
    views: Count = Field(
        1,
        le=127,
        description="Number of views of each training image: the image itself, and augmented ones, "
        "which are the same in every run. The other splits have one view.",
    )
    augmentation: Augmentation | None = Field(
        None,
        description="Augmentation of the views after the first. Default: flip, and a random crop "
        "of 40 to 100 % of the area, resized (RandomResizedCrop).",
    )
    precision: Literal["fp32", "bf16", "fp16", "auto"] = Field(
        "fp32",
        description="Compute precision; auto is bf16 if the device supports it, else fp32. "
        "Features in bf16 and fp16 are stored as float16.",
    )

    @property
    def view_augmentation(self) -> Augmentation:
        """The augmentation of the views after the first."""
        if self.augmentation is not None:
            return self.augmentation
        crop = TorchvisionTransform(name="RandomResizedCrop", options={"scale": [0.4, 1.0]})
        return Augmentation(flip=True, torchvision=[crop])

    @model_validator(mode="after")
    def _augmentation_is_used(self) -> "Features":
        if self.augmentation is not None and self.views == 1:
            raise ValueError(
                "'augmentation' is for the views after the first, found 'views: 1': raise views, "
                "or remove augmentation"
            )
        return self


class FurtherBackbone(Model):
    """Another frozen backbone, whose features stand next to those of the recipe's `model`.

    Views and precision are those of `features`.
    """

    name: str = Field(description="Model name as in timm.list_models().")
    weights: Annotated[str, Field(min_length=1)] = Field(
        description="hub, or the path of a checkpoint, of a folder of timm or of an expert."
    )
    normalize: bool | Literal["backbone"] = Field(
        "backbone", description="As `normalize` of the recipe, for this backbone."
    )
    size: Side = None
    layers: Layers = Field(["penultimate"])

    @property
    def model(self) -> Model:
        """Name, weights and options."""
        return Model(name=self.name, weights=self.weights, options=self.options)


class HeadFeatures(Features):
    """Features of frozen backbones, on which an expert is trained as a head.

    Those of each backbone are computed once and stored in the folder `features`. All experts, seeds
    and experiments with the same data section, weights and features share them.
    """

    concat: list[FurtherBackbone] = Field(
        [],
        max_length=7,
        description="Further backbones. The features of all backbones are concatenated, each "
        "scaled so that no backbone outweighs another.",
    )


class FrozenBackbone(NamedTuple):
    """What decides the features of one backbone; see `tailproof.config.features`.

    Attributes:
        model: name and weights.
        normalize: `normalize` with its default filled in.
        features: what is computed of it.
    """

    model: Model
    normalize: bool | str
    features: Features
