"""The section features of a recipe: what is computed of frozen backbones."""

from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import AfterValidator, Field, model_validator

from tailproof.config.augmentation import Augmentation
from tailproof.config.base import Count, Strict
from tailproof.config.model import Model
from tailproof.config.transforms import TorchvisionTransform

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
        description="penultimate: the input of the backbone's classifier. last: its last feature "
        "map, averaged over all positions; for a transformer, the class token "
        "followed by the average of the other tokens. Several layers are "
        "concatenated.",
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
        "backbone", description="Like `normalize` of the recipe, for this backbone."
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
