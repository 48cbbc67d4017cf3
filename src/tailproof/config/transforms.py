"""The transforms of albumentations and torchvision that a recipe can name.

The libraries are not imported: this is read whenever Snakemake starts, and they take seconds. What
only they know, such as options and the pixels that a transform returns, is tried on an image before
training.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, ValidationError, field_validator, model_validator

from tailproof.config.base import Strict
from tailproof.runtime.errors import suggestion

LATER = "pixels are normalized and converted after all transforms anyway: remove it"
BOXES = "it needs boxes, masks or key points, but samples have only labels: remove it"
IMAGES = "it needs other images than the sample, which no record would list: remove it"
VOLUMES = "it is for volumes and videos, but samples are images: remove it"
CODE = "it needs a function or a tensor, which a configuration cannot hold: remove it"
SEVERAL = "it turns one image into several, but a sample is one image: use a random crop instead"
BATCHES = "it mixes the images of a batch: use recipe.mixing instead"
DROPPED = "albumentations 2 no longer has it: use {} instead"


@dataclass(frozen=True)
class Library:
    """What a recipe can name from a library.

    Attributes:
        name: name of the library, and of its key in the recipe.
        transforms: the names of transforms that can be used.
        containers: those among them whose option `transforms` lists other transforms.
        refused: why other names are refused, and what to do.
    """

    name: str
    transforms: frozenset[str]
    containers: frozenset[str]
    refused: dict[str, str]

    def problem(self, name: str) -> str | None:
        """Return why a name cannot be used; None if it can."""
        if name in self.transforms:
            return None
        if name in self.refused:
            return f"{name} cannot be used: {self.refused[name]}"
        for other in LIBRARIES:
            if name in other.transforms and other is not self:
                return f"{name} is a transform of {other.name}: list it under '{other.name}'"
        names = self.transforms | self.refused.keys()
        return f"unknown {self.name} transform '{name}'{suggestion(name, sorted(names))}"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _reasons(*groups: tuple[str, str]) -> dict[str, str]:
    return {name: reason for names, reason in groups for name in names.split()}


ALBUMENTATIONS = Library(
    "albumentations",
    _names(
        "AdditiveNoise AdvancedBlur Affine AutoContrast Blur CenterCrop ChannelDropout "
        "ChannelShuffle ChromaticAberration CLAHE CoarseDropout ColorJitter Compose Crop "
        "CropAndPad D4 Defocus Downscale ElasticTransform Emboss Equalize Erasing FancyPCA "
        "FrequencyMasking GaussNoise GaussianBlur GlassBlur GridDistortion GridDropout "
        "GridElasticDeform HEStain HorizontalFlip HueSaturationValue ISONoise Illumination "
        "ImageCompression InvertImg LongestMaxSize MedianBlur Morphological MotionBlur "
        "MultiplicativeNoise NoOp OneOf OneOrOther OpticalDistortion Pad PadIfNeeded Perspective "
        "PiecewiseAffine PixelDropout PlanckianJitter PlasmaBrightnessContrast PlasmaShadow "
        "Posterize RGBShift RandomBrightnessContrast RandomCrop RandomCropFromBorders RandomFog "
        "RandomGamma RandomGravel RandomGridShuffle RandomOrder RandomRain RandomResizedCrop "
        "RandomRotate90 RandomScale RandomShadow RandomSizedCrop RandomSnow RandomSunFlare "
        "RandomToneCurve Resize RingingOvershoot Rotate SafeRotate SaltAndPepper Sequential "
        "Sharpen ShiftScaleRotate ShotNoise SmallestMaxSize Solarize SomeOf Spatter "
        "SquareSymmetry Superpixels ThinPlateSpline TimeMasking TimeReverse ToGray ToRGB ToSepia "
        "Transpose UnsharpMask VerticalFlip XYMasking ZoomBlur"
    ),
    _names("Compose OneOf OneOrOther RandomOrder Sequential SomeOf"),
    _reasons(
        ("FromFloat Normalize ToFloat ToTensor ToTensorV2", LATER),
        (
            "AtLeastOneBBoxRandomCrop BBoxSafeRandomCrop ConstrainedCoarseDropout "
            "CropNonEmptyMaskIfExists MaskDropout RandomCropNearBBox RandomSizedBBoxSafeCrop",
            BOXES,
        ),
        (
            "FDA HistogramMatching Mosaic OverlayElements PixelDistributionAdaptation "
            "TemplateTransform TextImage",
            IMAGES,
        ),
        (
            "CenterCrop3D CoarseDropout3D CubicSymmetry Pad3D PadIfNeeded3D RandomCrop3D "
            "ToTensor3D",
            VOLUMES,
        ),
        ("Lambda", CODE),
        ("ReplayCompose SelectiveChannelTransform", "list its transforms instead"),
        ("Cutout", DROPPED.format("CoarseDropout")),
        ("Flip", DROPPED.format("HorizontalFlip or VerticalFlip")),
        ("JpegCompression", DROPPED.format("ImageCompression")),
        ("RandomBrightness RandomContrast", DROPPED.format("RandomBrightnessContrast")),
    ),
)

TORCHVISION = Library(
    "torchvision",
    _names(
        "AugMix AutoAugment CenterCrop ColorJitter Compose ElasticTransform GaussianBlur "
        "GaussianNoise Grayscale Identity JPEG Pad RGB RandAugment RandomAdjustSharpness "
        "RandomAffine RandomApply RandomAutocontrast RandomChannelPermutation RandomChoice "
        "RandomCrop RandomEqualize RandomErasing RandomGrayscale RandomHorizontalFlip "
        "RandomInvert RandomOrder RandomPerspective RandomPhotometricDistort RandomPosterize "
        "RandomResize RandomResizedCrop RandomRotation RandomShortestSize RandomSolarize "
        "RandomVerticalFlip RandomZoomOut Resize ScaleJitter TrivialAugmentWide"
    ),
    _names("Compose RandomApply RandomChoice RandomOrder"),
    _reasons(
        (
            "ConvertImageDtype Normalize PILToTensor ToDtype ToImage ToPILImage ToPureTensor "
            "ToTensor",
            LATER,
        ),
        (
            "ClampBoundingBoxes ClampKeyPoints ConvertBoundingBoxFormat RandomIoUCrop "
            "SanitizeBoundingBoxes SanitizeKeyPoints SetClampingMode",
            BOXES,
        ),
        ("UniformTemporalSubsample", VOLUMES),
        ("Lambda LinearTransformation", CODE),
        ("FiveCrop TenCrop", SEVERAL),
        ("CutMix MixUp", BATCHES),
    ),
)

LIBRARIES = (ALBUMENTATIONS, TORCHVISION)


class Transform(Strict):
    """A transform of a library: its class, and the arguments of the class."""

    library: ClassVar[Library]

    name: str = Field(description="Class name of the transform.")
    options: dict[str, Any] = Field(default_factory=dict, description="Arguments of the class.")

    @property
    def inner(self) -> list["Transform"]:
        """The transforms that a container such as `OneOf` lists; none of another transform."""
        if self.name not in self.library.containers:
            return []
        return [type(self).model_validate(inner) for inner in self.options["transforms"]]

    @field_validator("name")
    @classmethod
    def _can_be_used(cls, name: str) -> str:
        if problem := cls.library.problem(name):
            raise ValueError(problem)
        return name

    @model_validator(mode="before")
    @classmethod
    def _arguments_are_options(cls, value: Any) -> Any:
        if isinstance(value, dict) and "name" in value:
            arguments = [str(key) for key in value if key not in cls.model_fields]
            if arguments and not suggestion(arguments[0], cls.model_fields):
                raise ValueError(
                    f"{', '.join(arguments)} of {value['name']} must be under 'options', such as "
                    f"{{name: {value['name']}, options: {{{arguments[0]}: …}}}}"
                )
        return value

    @model_validator(mode="after")
    def _options_make_sense(self) -> "Transform":
        if self.options.get("p") == 0:
            raise ValueError(f"{self.name} with 'p: 0' is never applied: remove it or raise p")
        if self.name in self.library.containers:
            inner = self.options.get("transforms")
            if not isinstance(inner, list) or not inner:
                raise ValueError(
                    f"{self.name} needs the option 'transforms', a list such as "
                    f"[{{name: {sorted(self.library.transforms)[0]}}}]"
                )
            try:
                _ = self.inner
            except ValidationError as error:
                messages = [
                    problem["msg"].removeprefix("Value error, ") for problem in error.errors()
                ]
                raise ValueError(f"in {self.name}, {'; '.join(messages)}") from None
        return self


class Albumentation(Transform):
    """One albumentations transform, e.g. {name: ColorJitter, options: {p: 0.5}}."""

    library = ALBUMENTATIONS


class TorchvisionTransform(Transform):
    """One transform of torchvision.transforms.v2, e.g. {name: JPEG, options: {quality: 50}}."""

    library = TORCHVISION
