"""The whole configuration of an experiment, and the list of those that are built."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from tailproof.core.config.base import Name, Strict
from tailproof.core.config.calibration import Calibration
from tailproof.core.config.data import Data
from tailproof.core.config.evaluation import Evaluation
from tailproof.core.config.recipe import Recipe
from tailproof.core.config.report import Report


class Config(Strict):
    """``config/config.yaml``."""

    experiments: list[Name] = Field(
        min_length=1, description="What a bare `snakemake` builds: names of config/experiments/."
    )


class Experiment(Strict):
    """One experiment: data, experts and what is made of them."""

    title: str
    description: str = ""
    data: Data
    recipe: Recipe = Field(Recipe(), description="The default of every expert.")
    experts: dict[Name, Recipe] = Field(
        min_length=1, description="What each expert changes in the recipe."
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)
    calibration: Calibration = Calibration()
    evaluation: Evaluation = Evaluation()
    report: Report = Report()

    @model_validator(mode="before")
    @classmethod
    def _experts_start_from_recipe(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("experts"), dict):
            return value
        recipe = _with_default_names(value.get("recipe"))
        experts = {
            name: merge(recipe, changes or {}) if isinstance(changes or {}, dict) else changes
            for name, changes in value["experts"].items()
        }
        return {**value, "experts": experts}

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice")
        return seeds


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, section by section.

    A section that names another variant (another ``name`` or ``kind``) replaces the base's whole.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _other_variant(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _other_variant(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return any(key in new and new[key] != old.get(key) for key in ("name", "kind"))


def _with_default_names(recipe: Any) -> dict[str, Any]:
    """Write out the names that a recipe leaves to the defaults: naming one is no change then."""
    if not isinstance(recipe, dict):
        return {}
    names = {key: value["name"] for key, value in Recipe().model_dump().items() if _has_name(value)}
    return {
        key: {"name": names[key], **value} if key in names and isinstance(value, dict) else value
        for key, value in recipe.items()
    }


def _has_name(value: Any) -> bool:
    return isinstance(value, dict) and "name" in value
