"""The recipes that the experts of an experiment have, or may have until a sweep decides."""

import json
import re
from collections.abc import Callable
from typing import Any

from tailproof.config.experiment import Experiment
from tailproof.config.features import deciding_fields
from tailproof.config.recipe import Recipe
from tailproof.runtime.errors import TailproofError, suggestion


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


def is_head(experiment: Experiment, expert: str) -> bool:
    """Return whether an expert is a head on features; points of a sweep are all alike in this."""
    return possible_recipes(experiment, expert)[0].features is not None


def trainer_of(experiment: Experiment, expert: str) -> str:
    """Return the name of the script that trains an expert."""
    return "train_head" if is_head(experiment, expert) else "train"


def inferrer_of(experiment: Experiment, expert: str) -> str:
    """Return the name of the script that infers with an expert."""
    return "infer_head" if is_head(experiment, expert) else "infer"


def scorer_of(experiment: Experiment, expert: str) -> str:
    """Return the name of the script that says how well an expert knows pictures."""
    return "score_unknown_head" if is_head(experiment, expert) else "score_unknown"


def gpus_of_inference(experiment: Experiment, expert: str) -> int:
    """Return the number of GPUs for inference; a head on features is computed on a CPU."""
    return 0 if is_head(experiment, expert) else 1


def possible_features(experiment: Experiment, expert: str) -> dict[str, list[Any]]:
    """Return what decides the features that an expert may need, by key; empty for a network."""
    return deciding_fields(experiment.data, possible_recipes(experiment, expert))


def rung_of(expert: str) -> int:
    """Return the rung of a sweep that an expert is trained in, from the name of its place."""
    place = re.fullmatch(r"rung-(\d+)-place-\d+", expert)
    return int(place[1]) if place else 1


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
