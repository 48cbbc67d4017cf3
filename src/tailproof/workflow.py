"""Helpers of the rules that read an experiment's configuration; none needs Snakemake."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tailproof.config.experiment import Experiment
from tailproof.config.recipe import Recipe
from tailproof.files import read_json
from tailproof.preflight.slurm_resources import request_of, with_measurements
from tailproof.provenance.expected_jobs import expected_jobs
from tailproof.runtime.errors import TailproofError, suggestion
from tailproof.runtime.records import record_path


def config_section(section: BaseModel, *names: str) -> dict[str, Any]:
    """Return a section of the configuration, or only its named fields, as plain values."""
    return section.model_dump(mode="json", include=set(names) or None)


def all_recipes(experiment: Experiment) -> dict[str, Recipe]:
    """Return the recipes of all experts and of all points of the sweep, by name."""
    return experiment.experts | experiment.points


def possible_recipes(experiment: Experiment, expert: str) -> list[Recipe]:
    """Return the recipes that an expert may have: its own, or those of all points of the sweep.

    Raises:
        TailproofError: the experiment has no such expert.
    """
    recipes = all_recipes(experiment)
    if expert in recipes:
        return [recipes[expert]]
    if expert in experiment.evaluated or any(expert in names for names in experiment.rounds):
        return list(experiment.points.values())
    raise TailproofError(
        f"the experiment has no expert '{expert}'{suggestion(expert, recipes)}; "
        f"known: {', '.join(recipes)}"
    )


def largest_recipe(experiment: Experiment, expert: str) -> Recipe:
    """Return an expert's recipe; of several possible ones, the one with the most threads."""
    return max(possible_recipes(experiment, expert), key=lambda recipe: recipe.threads)


def learned_recipe(experiment: Experiment, expert: str) -> dict[str, Any]:
    """Return the result fields of an expert's recipe; empty if a rung decides the recipe."""
    return {} if rung_of(expert) > 1 else largest_recipe(experiment, expert).result_fields()


def possible_learned_recipes(experiment: Experiment, expert: str) -> dict[str, dict[str, Any]]:
    """Return the result fields of the recipes that an expert may have, by name."""
    fixed = {expert: experiment.experts[expert]} if expert in experiment.experts else None
    recipes = experiment.points if fixed is None else fixed
    return {name: recipe.result_fields() for name, recipe in recipes.items()}


def initial_weights(experiment: Experiment, expert: str) -> list[str]:
    """Return the weight files that an expert may start from."""
    paths = [recipe.initial_weights for recipe in possible_recipes(experiment, expert)]
    return [path for path in dict.fromkeys(paths) if path]


def rung_of(expert: str) -> int:
    """Return the rung of a sweep that an expert is trained in, from the name of its place."""
    place = re.fullmatch(r"rung-(\d+)-place-\d+", expert)
    return int(place[1]) if place else 1


def part_numbers(experiment: Experiment) -> list[str]:
    """Return the part numbers of a split, as written in file names."""
    return [f"{part:05d}" for part in range(experiment.data.shards_per_split)]


def expected_records(name: str, experiment: Experiment) -> list[str]:
    """Return the paths of the records of all jobs that run before the report."""
    return [record_path(name, *job.split("/")) for job in expected_jobs(experiment)]


def max_over_recipes(experiment: Experiment, amount: Callable[[Recipe], int]) -> int:
    """Return the largest amount that any expert or point of an experiment needs."""
    return max(map(amount, all_recipes(experiment).values()))


def execution_of(experiment: Experiment, expert: str) -> str:
    """Return the execution fields of an expert's recipe, as JSON."""
    return json.dumps(largest_recipe(experiment, expert).execution_fields())


def execution_of_all(experiment: Experiment) -> str:
    """Return the execution fields of all recipes as JSON: the usual ones and the exceptions."""
    usual = experiment.recipe.execution_fields()
    by_name = {name: recipe.execution_fields() for name, recipe in all_recipes(experiment).items()}
    others = {name: fields for name, fields in by_name.items() if fields != usual}
    return json.dumps({"usual": usual, "others": others})


def measured_resource(recipe: Recipe, timing: Path, expert: str, name: str) -> int:
    """Return the amount of a resource for a training job, measured by the preflight if it ran.

    Args:
        recipe: recipe of the expert.
        timing: path of preflight_timing.json, which may not exist yet.
        expert: name of the expert.
        name: name of a field of `request_of`.

    Raises:
        TailproofError: the file is damaged.
    """
    measured = read_json(timing)["experts"].get(expert, {}) if timing.exists() else {}
    return with_measurements(request_of(recipe), measured)[name]
