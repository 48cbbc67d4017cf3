"""The configuration of an experiment, and the list of experiments to build."""

from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from tailproof.config.base import Name, Strict
from tailproof.config.calibration import Calibration
from tailproof.config.data import Data
from tailproof.config.evaluation import ENSEMBLES, Evaluation
from tailproof.config.guarantees import Guarantees
from tailproof.config.merge import merged_recipe, with_names
from tailproof.config.preflight import Preflight
from tailproof.config.recipe import Recipe
from tailproof.config.report import Report
from tailproof.config.sweep import RESERVED, WINNER, Sweep
from tailproof.config.targets import Targets

LONGEST_NAME = 100  # characters; a file name holds 255 bytes, and has more parts


class Config(Strict):
    """The content of ``config/config.yaml``."""

    experiments: list[Name] = Field(
        min_length=1,
        description="Experiments that `snakemake` without a target builds: names of files in "
        "config/experiments/, without .yaml.",
    )
    results: str = Field(
        "results", min_length=1, description="Folder for all results; it may be on another disk."
    )


class Experiment(Strict):
    """One experiment: its data, its experts, and how they are evaluated and reported."""

    title: str = Field(description="Title of the report.")
    description: str = Field("", description="What the experiment is about, for the report.")
    data: Data
    recipe: Recipe = Field(Recipe(), description="Default recipe of all experts.")
    sweep: Sweep | None = Field(
        None, description="Recipes to compare on val; the best one becomes the expert 'winner'."
    )
    experts: dict[Name, Recipe] = Field(
        {},
        validate_default=True,
        description="Experts by name, each with its changes to the recipe.",
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [0], min_length=1, description="Every expert is trained once per seed."
    )
    targets: Targets = Field(
        {},
        description="Values that runs should reach, by column of history.csv; the report lists the "
        "targets that a run misses.",
    )
    preflight: Preflight = Preflight()
    calibration: Calibration = Calibration()
    evaluation: Evaluation = Evaluation()
    guarantees: Guarantees = Guarantees()
    report: Report = Report()

    def result_fields(self) -> dict[str, Any]:
        """Return, as plain values, all fields except those in `EXECUTION_FIELDS`."""
        others = {"recipe": self.recipe.result_fields(), "guarantees": self.guarantee_fields()}
        others["experts"] = {name: recipe.result_fields() for name, recipe in self.experts.items()}
        return self.model_dump(mode="json") | others

    def guarantee_fields(self) -> dict[str, Any]:
        """Return, as plain values, what is promised; false alarms only if there may be any."""
        without = set() if self.data.unknown else {"false_alarms"}
        return self.guarantees.model_dump(mode="json", exclude=without)

    @cached_property
    def points(self) -> dict[str, Recipe]:
        """The recipe of every sweep point by name; empty without a sweep."""
        return self.sweep.expand(self.recipe) if self.sweep else {}

    @cached_property
    def rounds(self) -> list[list[str]]:
        """The names that are trained in each round of the sweep; the last round trains in full."""
        return self.sweep.rounds(list(self.points)) if self.sweep else []

    @property
    def trained(self) -> list[str]:
        """The experts that are trained in full: the named ones, then those of the last round."""
        return [*self.experts, *(self.rounds[-1] if self.rounds else ())]

    @property
    def evaluated(self) -> list[str]:
        """The experts that are evaluated: the named ones, then the winner of the sweep."""
        return [*self.experts, *([WINNER] if self.sweep else ())]

    @property
    def students(self) -> list[str]:
        """The experts that learn from an ensemble, of which they are no part."""
        return [name for name, recipe in self.experts.items() if recipe.distill]

    @property
    def combined(self) -> list[str]:
        """The experts that ensembles combine: the evaluated ones that are no students."""
        return [name for name in self.evaluated if name not in self.students]

    @model_validator(mode="after")
    def _students_have_a_teacher(self) -> "Experiment":
        if any(recipe.distill for recipe in self.points.values()):
            raise ValueError(
                "distill is set for points of the sweep, which would be their own teachers: set "
                "it only for experts under 'experts'"
            )
        if self.students and len(self.combined) < 2:
            raise ValueError(
                f"{self.students[0]} learns from the ensemble of the experts without distill, "
                f"expected at least 2, found {len(self.combined)}: add experts without distill"
            )
        return self

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
                    name: merged_recipe(value["recipe"], changes)
                    for name, changes in experts.items()
                }
                value = {**value, "experts": merged}
        return value

    @field_validator("sweep")
    @classmethod
    def _sweep_fits_recipe(cls, sweep: Sweep | None, info: ValidationInfo) -> Sweep | None:
        if sweep and "recipe" in info.data:
            sweep.expand(info.data["recipe"])  # raises ValueError
        return sweep

    @field_validator("experts")
    @classmethod
    def _experts_are_named_apart(
        cls, experts: dict[str, Recipe], info: ValidationInfo
    ) -> dict[str, Recipe]:
        if not experts and "sweep" in info.data and info.data["sweep"] is None:
            raise ValueError(
                "should name at least one expert, because there is no 'sweep': add one, "
                "such as {plain: {}}"
            )
        sweep, recipe = info.data.get("sweep"), info.data.get("recipe")
        points = sweep.expand(recipe) if experts and sweep and recipe else ()
        spelled: dict[str, str] = {}
        for name in experts:
            if len(name) > LONGEST_NAME:
                raise ValueError(
                    f"'{name[:20]}…' has {len(name)} characters, too many for a file name: use at "
                    f"most {LONGEST_NAME}"
                )
            twin = spelled.setdefault(name.casefold(), name)
            if twin != name:
                raise ValueError(
                    f"'{twin}' and '{name}' differ only in case, and would be one folder on the "
                    "disks of macOS and Windows: choose another name"
                )
            if RESERVED.fullmatch(name):
                raise ValueError(f"'{name}' is reserved for sweeps: choose another name")
            if name in ENSEMBLES:
                raise ValueError(f"'{name}' is the name of an ensemble: choose another name")
            if name in points:
                raise ValueError(f"'{name}' is also a point of the sweep: choose another name")
        return experts

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            repeated = next(seed for seed in seeds if seeds.count(seed) > 1)
            raise ValueError(f"the seed {repeated} is listed twice: remove one")
        return seeds
