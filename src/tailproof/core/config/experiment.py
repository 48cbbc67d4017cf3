"""The whole configuration of an experiment."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tailproof.core.config.base import Count, Name, Strict
from tailproof.core.config.data import Data
from tailproof.core.config.recipe import Recipe


class Calibration(Strict):
    """How each expert's temperature is fitted on the split calib."""

    weighting: Literal["plain", "class_balanced"] = "plain"
    bins: Count = Field(15, description="Bins of the calibration errors.")


class Evaluation(Strict):
    """What is measured on dev and test."""

    many: int = Field(100, ge=1, description="Classes with more training samples are 'many'.")
    few: int = Field(20, ge=1, description="Classes with fewer training samples are 'few'.")
    bootstrap: int = Field(1000, ge=100, description="Resamples behind each 95 % interval.")
    coverages: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.5, 0.8, 0.9, 1.0], description="Coverages at which selective risk is listed."
    )
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Evaluation":
        if self.few > self.many:
            raise ValueError(f"few ({self.few}) is larger than many ({self.many})")
        return self


class Report(Strict):
    """How the page looks."""

    worst_errors: int = Field(24, ge=0, description="Confident mistakes shown as pictures.")


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
        recipe = value.get("recipe") or {}
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
