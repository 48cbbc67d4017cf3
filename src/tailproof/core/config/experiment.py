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

    def learning(self) -> dict[str, Any]:
        """Return, as plain values, all but how the experts' training is carried out."""
        recipes = {"recipe": self.recipe.learning()}
        recipes["experts"] = {name: recipe.learning() for name, recipe in self.experts.items()}
        return self.model_dump(mode="json") | recipes

    @model_validator(mode="before")
    @classmethod
    def _experts_start_from_recipe(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        recipe, experts = value.get("recipe", {}), value.get("experts")
        if isinstance(recipe, dict):
            value = {**value, "recipe": _with_names(recipe)}
            if isinstance(experts, dict):
                merged = {name: _on(value["recipe"], own) for name, own in experts.items()}
                value = {**value, "experts": merged}
        return value

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


def _on(recipe: dict[str, Any], changes: Any) -> Any:
    """Return an expert's recipe; what is no mapping is left for the model to refuse."""
    if changes is None:
        return recipe
    return _with_names(merge(recipe, changes)) if isinstance(changes, dict) else changes


def _with_names(recipe: dict[str, Any]) -> dict[str, Any]:
    """Write out the variant where a section leaves it to the default: to name it is no change."""
    return {
        key: {"name": _NAMES[key], **section}
        if key in _NAMES and isinstance(section, dict)
        else section
        for key, section in recipe.items()
    }


_NAMES = {
    key: section["name"]
    for key, section in Recipe().model_dump().items()
    if isinstance(section, dict) and "name" in section
}
