"""Configuration of the stages prepare, split and shard."""

from functools import cache
from importlib import import_module
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    model_validator,
)
from pydantic_core import core_schema

from tailproof.config.base import Count, Fraction, Strict

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
}
"""Columns of samples, splits, shards and logits; no rank may have one of these names."""


def _below_root(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"'{path}' is outside root: give a path relative to root, without '..'")
    return path


def _distinct_ranks(ranks: list[str]) -> list[str]:
    for position, rank in enumerate(ranks):
        if rank in ranks[:position]:
            raise ValueError(f"'{rank}' is listed twice: remove one")
        if rank in RESERVED_COLUMNS:
            raise ValueError(
                f"'{rank}' is the name of a column that tailproof writes: rename your column"
            )
    return ranks


Column = Annotated[str, Field(min_length=1)]
BelowRoot = Annotated[str, Field(min_length=1), AfterValidator(_below_root)]
RankColumns = Annotated[list[Column], Field(min_length=1), AfterValidator(_distinct_ranks)]


class SourceConfig(Strict):
    """What the configuration says about a source; its field `name` selects the source."""

    name: str


SOURCE_CONFIGS: dict[str, type[SourceConfig]] = {}
"""The configuration model of each source, by name."""


def add_source_config(model: type[SourceConfig]) -> tuple[str, ...]:
    """Accept a source in the configuration.

    Args:
        model: its field `name` is a Literal of the names that select the source.

    Returns:
        The names.

    Raises:
        ValueError: another source has one of the names.
    """
    names = get_args(model.model_fields["name"].annotation)
    for name in names:
        if SOURCE_CONFIGS.setdefault(name, model) is not model:
            raise ValueError(f"two sources have the name '{name}': rename one")
    return names


def _source_union() -> TypeAdapter[SourceConfig]:
    """Return the union of all models, with the package's own sources among them.

    Importing the sources from this lower floor is safe because it computes no result: a stage gets
    parameters that were validated before. The code digest does not follow a relative name, so that
    only the stages that read images become stale with a source.
    """
    import_module("..data.sources", __package__)
    return _union_of(tuple(SOURCE_CONFIGS[name] for name in sorted(SOURCE_CONFIGS)))


@cache
def _union_of(models: tuple[type[SourceConfig], ...]) -> TypeAdapter[SourceConfig]:
    return TypeAdapter(Annotated[Union[models], Field(discriminator="name")])  # noqa: UP007


class _AnySource:
    """Validates a source by the model that its name selects, and describes all of them."""

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
    """Keep every sample of the training pool, with the class balance that it has."""

    kind: Literal["natural"] = "natural"


class LongTail(Strict):
    """Sub-sample the training pool, without replacement, to n_i images in class i.

    exponential: n_i = floor(n_max · imbalance^(−i/(C−1))) (Cao et al. 2019, LDAM-DRW, section 4).
    step: the first half of the classes keeps n_max images, the others floor(n_max / imbalance).
    """

    kind: Literal["exponential", "step"]
    imbalance: float = Field(
        ge=1, description="Number of images in the largest class, divided by that in the smallest."
    )
    n_max: Count | None = Field(
        None, description="Number of images in class 0. Default: the most that the pool allows."
    )


Profile = Annotated[Natural | LongTail, Field(discriminator="kind")]


class SplitFractions(Strict):
    """Fractions of the two pools.

    val and calib are fractions of the training pool; train is the rest of it. tune and dev are
    fractions of the held-out pool; test is the rest of it.
    """

    val: Fraction = 0.1
    calib: Fraction = 0.1
    tune: Fraction = 0.2
    dev: Fraction = 0.2

    @model_validator(mode="after")
    def _leave_something(self) -> "SplitFractions":
        for first, second, rest in (("val", "calib", "train"), ("tune", "dev", "test")):
            if getattr(self, first) + getattr(self, second) >= 1:
                raise ValueError(
                    f"{first} and {second} leave nothing for {rest}: lower one of them"
                )
        return self


class Data(Strict):
    """How the raw collection becomes six splits, stored in shards."""

    source: Annotated[SourceConfig, _AnySource]
    target: str | None = Field(
        None, description="Taxonomic rank to learn. Default: the finest rank."
    )
    positive_class: str | None = Field(
        None,
        description="Positive class of a binary task. Default: the rarer one in train; on a tie, "
        "the second.",
    )
    long_tail: Profile = Natural()
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="Fraction of samples for the held-out pool, if the source has no test set."
    )
    splits: SplitFractions = SplitFractions()
    seed: int = Field(0, ge=0)
    shards_per_split: Count = Field(
        1, description="Number of shards per split. A separate job writes each one."
    )
