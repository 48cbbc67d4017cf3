"""Configuration of the stages prepare, split and shard."""

import codecs
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)
from pydantic_core import core_schema

from tailproof.config.base import Count, Fraction, Strict
from tailproof.config.splits import UNKNOWN_SPLITS

RESERVED_COLUMNS = {
    "sample_id",
    "digest",
    "group",
    "pool",
    "path",
    "row",
    "height",
    "width",
    "image",
    "split",
    "weight",
    "logits",
    "unknown_class",
}
"""Columns that Tailproof writes to samples, splits, shards and logits; ranks cannot use them."""


def _below_root(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(
            f"expected a path relative to root without '..', found '{path}': write the part of the "
            "path below root"
        )
    return path


def distinct_ranks(ranks: list[str]) -> list[str]:
    """Return the names of ranks; a ValueError says that one is reserved or listed twice."""
    for position, rank in enumerate(ranks):
        if rank in ranks[:position]:
            raise ValueError(f"'{rank}' is listed twice: remove one")
        if rank in RESERVED_COLUMNS:
            raise ValueError(
                f"'{rank}' is the name of a column that tailproof writes: rename your column"
            )
    return ranks


def _distinct_columns(columns: list[str]) -> list[str]:
    for place, column in enumerate(columns):
        if column in columns[:place]:
            raise ValueError(f"'{column}' is listed twice: remove one")
        if column == "sample_id":
            raise ValueError("'sample_id' is the name of a column that tailproof writes: rename it")
    return columns


Column = Annotated[str, Field(min_length=1)]
BelowRoot = Annotated[str, Field(min_length=1), AfterValidator(_below_root)]
RankColumns = Annotated[list[Column], Field(min_length=1), AfterValidator(distinct_ranks)]
MissingSigns = Annotated[
    list[str] | dict[Column, list[str]] | None,
    Field(
        description="Cells that mean 'no value' in the columns of ranks and group, such as [NA]. "
        "{COLUMN: [NA]} decides by column, and [] says that such cells are names. "
        "Empty cells and NaN never have a value. Default: a table with cells that "
        "may mean 'no value' is refused."
    ),
]


def _text_encoding(name: str) -> str:
    try:
        "".encode(codecs.lookup(name).name)
    except (LookupError, ValueError):
        raise ValueError(
            f"expected an encoding of text, such as cp1252 or utf-16, found '{name}'"
        ) from None
    return name


Encoding = Annotated[
    Annotated[str, AfterValidator(_text_encoding)] | None,
    Field(
        description="Encoding of the tables, such as cp1252. Default: UTF-8, or UTF-16 with a byte "
        "order mark."
    ),
]
SplitColumn = Annotated[
    Column | None,
    Field(
        description="Column of the official split of each image: train (or training), val (valid, "
        "validation, dev) or test (testing)."
    ),
]
GroupPerPool = Annotated[
    bool,
    Field(
        description="Whether each pool numbers its groups from the start, so that the same "
        "number means different groups in train, val and test."
    ),
]


def check_missing_columns(missing: Any, ranks: list[str], group: str | None) -> None:
    """Raise a ValueError if `missing` names a column that is neither a rank nor the group."""
    columns = [*ranks, *([group] if group else [])]
    for column in missing if isinstance(missing, dict) else ():
        if column not in columns:
            raise ValueError(
                f"'missing' names the column '{column}', expected a column of ranks or group: "
                f"{', '.join(columns)}: correct the name"
            )


def check_pools(train: Any, val: Any, test: Any, split: str | None) -> None:
    """Raise a ValueError unless the pools of a source fit together."""
    if test is not None and train is None:
        raise ValueError("'test' is given but 'train' is not: give both or neither")
    if val is not None and None in (train, test):
        raise ValueError("'val' is given, but not both 'train' and 'test': give all three")
    if split is not None and test is not None:
        raise ValueError("'split' and 'test' both name the test set: remove one")


class SourceConfig(Strict):
    """Base class of the sources' configuration models; the field `name` selects the source."""

    name: str


class Crops(Strict):
    """Boxes that are cut out of the pictures; each box is a sample with the labels of its picture.

    All crops of a picture stay in one split. A picture without a box is left out and counted.
    """

    detections: BelowRoot | None = Field(
        None,
        description="Output file of MegaDetector with the boxes. Default: the boxes of the source "
        "itself (bbox of coco_json, the columns in box of metadata_csv).",
    )
    categories: Annotated[list[Column], Field(min_length=1)] = Field(
        ["animal"], description="Categories of MegaDetector whose boxes are samples."
    )
    min_confidence: Fraction | None = Field(
        None,
        description="Lowest confidence of a box that is used. Default: the typical threshold in "
        "its file, else 0.2.",
    )
    margin: Annotated[float, Field(ge=0, le=2)] = Field(
        0.0,
        description="Margin added on each side of a box, as a share of its width and height.",
    )


class PictureSourceConfig(SourceConfig):
    """Base class of sources whose samples are picture files, of which parts can be cut out."""

    crops: Crops | None = Field(
        None, description="Cut boxes out of the pictures. Default: whole pictures."
    )

    @property
    def has_boxes(self) -> bool:
        """Whether the source itself lists boxes."""
        return False

    @model_validator(mode="after")
    def _boxes_are_listed(self) -> "PictureSourceConfig":
        if self.crops is not None and self.crops.detections is None and not self.has_boxes:
            raise ValueError(
                f"'crops' needs boxes, and the source {self.name} lists none: name an output file "
                "of MegaDetector in crops.detections"
            )
        return self


SOURCE_CONFIGS: dict[str, type[SourceConfig]] = {}
"""The configuration model of each source by its name."""


def add_source_config(model: type[SourceConfig]) -> tuple[str, ...]:
    """Register the configuration model of a source.

    Args:
        model: a model whose field `name` is a Literal of the names that select the source.

    Returns:
        The names.

    Raises:
        ValueError: a name is already taken by another source.
    """
    names = get_args(model.model_fields["name"].annotation)
    for name in names:
        if SOURCE_CONFIGS.setdefault(name, model) is not model:
            raise ValueError(f"the source name '{name}' is already taken: choose another name")
    return names


def _source_union() -> TypeAdapter[SourceConfig]:
    """Return the union of all source models, including the package's own.

    Importing the sources from this lower layer is safe because validation computes no result:
    stages receive parameters that are already validated. The code digest does not follow a
    relative name, so a change in a source makes only the stages that read images stale.
    """
    import_module("..data.sources", __package__)
    return _union_of(tuple(SOURCE_CONFIGS[name] for name in sorted(SOURCE_CONFIGS)))


@cache
def _union_of(models: tuple[type[SourceConfig], ...]) -> TypeAdapter[SourceConfig]:
    union: Any = Annotated[Union[models], Field(discriminator="name")]  # noqa: UP007
    return TypeAdapter(union)


class _AnySource:
    """Validates a source with the model that its name selects; its JSON schema covers all."""

    @staticmethod
    def __get_pydantic_core_schema__(
        annotation: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: _source_union().validate_python(value)
        )

    @staticmethod
    def __get_pydantic_json_schema__(
        schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(_source_union().core_schema)


class Natural(Strict):
    """Keep every sample of the training pool and its natural class balance."""

    kind: Literal["natural"] = "natural"


class LongTail(Strict):
    """Subsample the training pool, without replacement, to n_i images in class i.

    exponential: n_i = floor(n_max · imbalance^(−i/(C−1))) (Cao et al. 2019, LDAM-DRW, section 4).
    step: the first half of the classes keeps n_max images, the others floor(n_max / imbalance).
    """

    kind: Literal["exponential", "step"]
    imbalance: float = Field(
        ge=1, description="Size of the largest class divided by the size of the smallest."
    )
    n_max: Count | None = Field(
        None, description="Number of images in class 0. Default: as many as the pool allows."
    )


Profile = Annotated[Natural | LongTail, Field(discriminator="kind")]


class Fold(Strict):
    """One of several folds; the test sets of all of them together are the whole collection."""

    index: int = Field(ge=0, description="Number of the fold, from 0 to of − 1.")
    of: int = Field(ge=2, description="Number of folds.")

    @model_validator(mode="after")
    def _index_below_number(self) -> "Fold":
        if self.index >= self.of:
            raise ValueError(
                f"index is {self.index}, expected 0 to {self.of - 1} for {self.of} folds: let "
                "`tailproof folds` write it"
            )
        return self


class SplitFractions(Strict):
    """Sizes of the splits as fractions of the two pools.

    val and calib are fractions of the training pool; train is the rest. tune and dev are fractions
    of the held-out pool; test is the rest. With a fold, test is the whole fold, and tune and dev
    are these fractions of its size, but of images from the other folds.
    """

    val: Fraction = Field(0.1, description="Fraction of the training pool; chooses epochs.")
    calib: Fraction = Field(0.1, description="Fraction of the training pool; fits calibrators.")
    tune: Fraction = Field(
        0.2, description="Fraction of the held-out pool; fits ensemble weights and thresholds."
    )
    dev: Fraction = Field(0.2, description="Fraction of the held-out pool; evaluated like test.")
    fold: Fold | None = Field(
        None,
        description="Hold out one fold as test, in place of data.test_fraction; `tailproof folds` "
        "writes the experiments of all folds.",
    )

    @model_validator(mode="after")
    def _leave_something(self) -> "SplitFractions":
        for first, second, rest in (("val", "calib", "train"), ("tune", "dev", "test")):
            if getattr(self, first) + getattr(self, second) >= 1:
                raise ValueError(
                    f"{first} + {second} is {getattr(self, first) + getattr(self, second):g}, "
                    f"expected less than 1 so that {rest} is not empty: lower one of them"
                )
        return self


class Unknown(Strict):
    """Pictures of no class that an expert learns, which show whether it says "unknown".

    Without classes and without a source, an expert learns when to say "unknown" from known pictures
    alone, and only its false alarms can be measured.
    """

    classes: list[Column] = Field(
        [],
        description="Classes of the target rank that no expert learns; their pictures count as "
        "unknown.",
    )
    source: Annotated[SourceConfig, _AnySource] | None = Field(
        None,
        description="A source of pictures of no known class, such as {name: pictures, root: "
        "raw/others}; its labels are not used.",
    )

    @property
    def has_pictures(self) -> bool:
        """Whether there are unknown pictures."""
        return bool(self.classes) or self.source is not None

    @model_validator(mode="after")
    def _one_origin(self) -> "Unknown":
        if self.classes and self.source is not None:
            raise ValueError("'classes' and 'source' both name the unknown pictures: remove one")
        if len(set(self.classes)) < len(self.classes):
            repeated = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"the class '{repeated}' is listed twice: remove one")
        return self


class Data(Strict):
    """How the raw images are split into six splits and stored in shards."""

    source: Annotated[SourceConfig, _AnySource]
    on_bad_image: Literal["stop", "skip"] = Field(
        "stop",
        description="What the stage prepare does after it has listed all images that cannot be "
        "read: stop, or skip them.",
    )
    max_bad_share: Fraction = Field(
        0.1,
        description="With on_bad_image: skip, the largest share of the training, validation or "
        "test images that may be left out.",
    )
    near_duplicates: Literal["group", "report", "off"] = Field(
        "report",
        description="What happens to pictures that are nearly the same (compressed again, resized, "
        "slightly cropped, mirrored, brighter; bursts): group keeps them in one split, report only "
        "counts those that lie in different splits, off does not look for them.",
    )
    target: str | None = Field(
        None, description="Taxonomic rank to predict. Default: the finest rank."
    )
    context: Annotated[list[Column], AfterValidator(_distinct_columns)] = Field(
        [],
        description="Columns of the source's table that say which classes are likely, such as "
        "[habitat, date, site]. Of a date, only the month is used.",
    )
    positive_class: str | None = Field(
        None,
        description="Positive class of a binary task. Default: the rarer one in train; on a tie, "
        "the second.",
    )
    long_tail: Profile = Field(
        Natural(), description="Class balance of the training pool. Default: unchanged."
    )
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="Fraction of samples held out, if the source has no test set of its own."
    )
    splits: SplitFractions = SplitFractions()
    seed: int = Field(0, ge=0, description="Seed of splitting and subsampling.")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [],
        description="Seeds of several draws of the splits, the first of them `seed`; `tailproof "
        "draws` writes an experiment for each of the others.",
    )
    shards_per_split: Count = Field(
        1, description="Number of shards per split; a separate job writes each one."
    )
    unknown: Unknown | None = Field(
        None,
        description='Pictures of no known class, to say "unknown" and to measure it. Default: an '
        "expert always answers with a known class.",
    )

    @property
    def splits_of_unknown(self) -> tuple[str, ...]:
        """The splits of unknown pictures; none without such pictures."""
        return UNKNOWN_SPLITS if self.unknown and self.unknown.has_pictures else ()

    @model_serializer(mode="wrap")
    def _without_absent_section(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `unknown` if it is not there, so that it changes no digest of parameters."""
        fields = serialize(self)
        if fields.get("unknown", ...) is None:
            del fields["unknown"]
        return fields

    @model_validator(mode="after")
    def _draws_differ(self) -> "Data":
        seeds = self.seeds
        if seeds and (seeds[0] != self.seed or len(set(seeds)) < max(2, len(seeds))):
            raise ValueError(
                f"seeds is {seeds}, expected at least 2 different seeds, of which the first "
                f"equals 'seed' ({self.seed}): correct seeds or seed"
            )
        return self
