"""What a configuration and the files beside a history tell of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from tailproof.config.base import Count, Strict
from tailproof.config.experiment import Experiment
from tailproof.config.load import parse_experiment
from tailproof.config.merge import with_names
from tailproof.config.messages import explain_errors
from tailproof.config.recipe import Recipe
from tailproof.config.targets import Targets
from tailproof.config.yaml_reader import read_yaml
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.diagnose import taken_over_at
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError

T = TypeVar("T")


class RunConfig(Strict):
    """What may be told of a run that is no experiment of this project; all may be left out."""

    recipe: Recipe | None = None
    classes: int | None = Field(None, ge=2)
    train_samples: Count | None = None
    samples_per_epoch: Count | None = Field(None, description="That training was given.")
    targets: Targets = Field({}, description="What the run should reach.")


def read_run_config(path: str | Path) -> RunConfig | Experiment:
    """Read an experiment's configuration, or one with `recipe`, `classes`, `targets` alone.

    Raises:
        TailproofError: one line a mistake.
    """
    value = read_yaml(path)
    if isinstance(value, dict) and "data" in value:
        return parse_experiment(value, str(path))
    if not isinstance(value, dict):
        raise TailproofError(f"{path} holds {type(value).__name__}, expected a mapping of keys")
    if isinstance(value.get("recipe"), dict):
        value = {**value, "recipe": with_names(value["recipe"])}
    try:
        return RunConfig.model_validate(value)
    except ValidationError as error:
        raise TailproofError(f"{path}: {' '.join(explain_errors(error, RunConfig))}") from None


def context_of(facts: RunConfig | Experiment | None, history: str | Path) -> Context:
    """Return what is known of the run whose history lies at a path.

    Of an experiment the expert is that of the path, ``…/experts/EXPERT/seed-S/…``; beside it
    training.json says from which other run's state it went on, and where nothing else is given
    config.json by which recipe.
    """
    taken_over = _beside(Path(history), "training.json", taken_over_at)
    if facts is None:
        own = _beside(Path(history), "config.json", _own_recipe)
        return Context(recipe=own, taken_over=taken_over)
    if isinstance(facts, Experiment):
        known = facts.experts | facts.points
        own = next((known[part] for part in Path(history).parts if part in known), facts.recipe)
        return Context(recipe=own, taken_over=taken_over, targets=facts.targets)
    return Context(
        recipe=facts.recipe,
        classes=facts.classes,
        train_samples=facts.train_samples,
        delivered=facts.samples_per_epoch,
        taken_over=taken_over,
        targets=facts.targets,
    )


def _own_recipe(config: Any) -> Recipe:
    return Recipe.model_validate(config["tailproof"]["recipe"])


def _beside(history: Path, name: str, take: Callable[[Any], T]) -> T | None:
    """Return what is taken from a JSON file beside a history; None where it is not one of ours."""
    path = history.parent / name
    if not path.is_file():
        return None
    try:
        return take(read_json(path))
    except (KeyError, TypeError, ValidationError, TailproofError):
        return None
