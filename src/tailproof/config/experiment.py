"""The whole configuration of an experiment, and the list of those that are built."""

from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tailproof.config.base import Name, Strict
from tailproof.config.calibration import Calibration
from tailproof.config.data import Data
from tailproof.config.evaluation import ENSEMBLES, Evaluation
from tailproof.config.merge import merged_recipe, with_names
from tailproof.config.preflight import Preflight
from tailproof.config.recipe import Recipe
from tailproof.config.report import Report
from tailproof.config.sweep import RESERVED, WINNER, Sweep
from tailproof.config.targets import Targets


class Config(Strict):
    """``config/config.yaml``."""

    experiments: list[Name] = Field(
        min_length=1, description="What a bare `snakemake` builds: names of config/experiments/."
    )
    results: str = Field(
        "results", min_length=1, description="Folder of all results; it may be on another disk."
    )


class Experiment(Strict):
    """One experiment: data, experts and what is made of them."""

    title: str
    description: str = ""
    data: Data
    recipe: Recipe = Field(Recipe(), description="The default of every expert.")
    sweep: Sweep | None = Field(None, description="Recipes of which the best becomes an expert.")
    experts: dict[Name, Recipe] = Field(
        {}, validate_default=True, description="What each expert changes in the recipe."
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)
    targets: Targets = Field(
        {},
        description="What runs should reach, by column of history.csv; what is missed is told.",
    )
    preflight: Preflight = Preflight()
    calibration: Calibration = Calibration()
    evaluation: Evaluation = Evaluation()
    report: Report = Report()

    def result_fields(self) -> dict[str, Any]:
        """Return, as plain values, all but how the experts' training is carried out."""
        recipes = {"recipe": self.recipe.result_fields()}
        recipes["experts"] = {name: recipe.result_fields() for name, recipe in self.experts.items()}
        return self.model_dump(mode="json") | recipes

    @cached_property
    def points(self) -> dict[str, Recipe]:
        """The recipe of every point of the sweep, by name; none without a sweep."""
        return self.sweep.expand(self.recipe) if self.sweep else {}

    @cached_property
    def rounds(self) -> list[list[str]]:
        """Who is trained in each round of the sweep; the last round in full."""
        return self.sweep.rounds(list(self.points)) if self.sweep else []

    @property
    def trained(self) -> list[str]:
        """The experts that are trained in full: those by name, then the sweep's."""
        return [*self.experts, *(self.rounds[-1] if self.rounds else ())]

    @property
    def evaluated(self) -> list[str]:
        """The experts that are evaluated: those by name, then the sweep's winner."""
        return [*self.experts, *([WINNER] if self.sweep else ())]

    @model_validator(mode="before")
    @classmethod
    def _experts_start_from_recipe(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        recipe, experts = value.get("recipe", {}), value.get("experts")
        if isinstance(recipe, dict):
            value = {**value, "recipe": with_names(recipe)}
            if isinstance(experts, dict):
                merged = {
                    name: merged_recipe(value["recipe"], own) for name, own in experts.items()
                }
                value = {**value, "experts": merged}
        return value

    @field_validator("sweep")
    @classmethod
    def _sweep_fits_recipe(cls, sweep: Sweep | None, info: ValidationInfo) -> Sweep | None:
        if sweep and "recipe" in info.data:
            sweep.expand(info.data["recipe"])  # raises what is wrong
        return sweep

    @field_validator("experts")
    @classmethod
    def _experts_are_named_apart(
        cls, experts: dict[str, Recipe], info: ValidationInfo
    ) -> dict[str, Recipe]:
        if not experts and "sweep" in info.data and info.data["sweep"] is None:
            raise ValueError("should name at least one expert, where there is no 'sweep'")
        sweep, recipe = info.data.get("sweep"), info.data.get("recipe")
        points = sweep.expand(recipe) if experts and sweep and recipe else ()
        for name in experts:
            if RESERVED.fullmatch(name):
                raise ValueError(f"'{name}' is a name that sweeps use: choose another")
            if name in ENSEMBLES:
                raise ValueError(f"'{name}' is the name of an ensemble: choose another")
            if name in points:
                raise ValueError(f"'{name}' is also a point of the sweep: choose another name")
        return experts

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is named twice")
        return seeds
