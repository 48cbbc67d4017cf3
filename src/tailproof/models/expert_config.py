"""config.json of an expert's folder, checked before timm or torch see anything of it."""

from collections.abc import Iterable
from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, FailFast, Field, model_validator

from tailproof.config.base import Count, Positive, Strict
from tailproof.config.json_file import JsonFile
from tailproof.data.taxonomy import head_columns
from tailproof.models.model_options import check_options

MOST_VALUES = 2**26
"""Largest number of values of one image: 8,192 × 8,192 grey pixels."""

Label = Annotated[str, Field(min_length=1)]


class ImageInput(Strict):
    """timm's data configuration: what an image is before it enters the network.

    Attributes:
        input_size: channels, height and width.
        mean, std: of each channel.
    """

    input_size: Annotated[list[Count], Field(min_length=3, max_length=3)]
    interpolation: Literal["bicubic", "bilinear"]
    crop_pct: Annotated[float, Field(gt=0, le=1)]
    crop_mode: str
    mean: Annotated[list[float], FailFast()]
    std: Annotated[list[Positive], FailFast()]

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        if prod(self.input_size) > MOST_VALUES:
            shape = "×".join(map(str, self.input_size))
            raise ValueError(f"input_size is {shape}, expected at most {MOST_VALUES:,} values")
        if not self.input_size[0] == len(self.mean) == len(self.std):
            raise ValueError(
                f"input_size has {self.input_size[0]} channels, mean has {len(self.mean)} and std "
                f"has {len(self.std)}: expected one number per channel"
            )
        return self


class Preprocessing(ImageInput):
    """The whole of timm's configuration of a network.

    Attributes:
        label_names: class names in the order of the outputs.
        fixed_input_size: whether the network accepts no other size.
        custom_load: false, since the weights are in timm's own format.
    """

    num_classes: Count
    label_names: Annotated[list[Label], FailFast()]
    first_conv: str | list[str] | None
    classifier: str | list[str] | None
    fixed_input_size: bool
    custom_load: Literal[False]


class Training(Strict):
    """What Tailproof adds to config.json.

    Attributes:
        target: the taxonomic rank that decisions refer to.
        heads: number of outputs of each rank, in the order of the outputs.
        inputs: what each backbone takes of an image, if the network has several.
        recipe: how the expert was trained, which nothing reads to predict.
    """

    target: str
    heads: Annotated[dict[str, Count], Field(min_length=1)]
    inputs: Annotated[list[ImageInput], Field(min_length=2, max_length=8)] | None = None
    seed: int | None = None
    recipe: dict[str, Any] | None = None
    precision: str | None = None
    epoch: int | None = None

    @model_validator(mode="after")
    def _target_has_a_head(self) -> Self:
        if self.target not in self.heads:
            raise ValueError(f"target is {self.target!a:.80}, which has no entry in heads")
        return self


class ExpertConfig(JsonFile):
    """The content of config.json.

    Attributes:
        architecture: a name of timm's registry, without a tag, an address or a path.
        num_classes: number of outputs, over all ranks.
        num_features: number of features that the outputs are computed from.
        model_args: `in_chans`, and the options of the recipe.
        pretrained_cfg: how images are prepared, and the class names.
        tailproof: what Tailproof adds.
    """

    architecture: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,100}$")]
    num_classes: Count
    num_features: Count
    model_args: Annotated[dict[str, Any], AfterValidator(check_options)]
    pretrained_cfg: Preprocessing
    tailproof: Training

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        prepared = self.pretrained_cfg
        sizes = {
            "num_classes": self.num_classes,
            "pretrained_cfg.num_classes": prepared.num_classes,
            "pretrained_cfg.label_names": len(prepared.label_names),
            "tailproof.heads": sum(self.tailproof.heads.values()),
        }
        for (name, size), (other, other_size) in pairwise(sizes.items()):
            if size != other_size:
                raise ValueError(f"{name} is for {size} outputs, but {other} for {other_size}")
        for taken in (prepared, *self.inputs):
            if self.model_args.get("in_chans") != taken.input_size[0]:
                raise ValueError(
                    f"model_args.in_chans is {self.model_args.get('in_chans')}, but input_size "
                    f"has {taken.input_size[0]} channels"
                )
        for rank, names in self.classes.items():
            if repeated := _repeated(names):
                raise ValueError(
                    f"pretrained_cfg.label_names has {repeated!a:.80} twice at the rank "
                    f"{rank!a:.80}"
                )
        return self

    @property
    def inputs(self) -> list[ImageInput]:
        """What the network takes of an image: one input, or one for each of several backbones."""
        return self.tailproof.inputs or [self.pretrained_cfg]

    @property
    def classes(self) -> dict[str, list[str]]:
        """The class names of each rank, in the order of the outputs."""
        columns = head_columns(self.tailproof.heads)
        return {rank: self.pretrained_cfg.label_names[part] for rank, part in columns.items()}


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
