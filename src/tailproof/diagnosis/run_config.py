"""Reads what a configuration and the files next to a history say about a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from tailproof.config.base import Count, Strict
from tailproof.config.experiment import Experiment
from tailproof.config.merge import with_names
from tailproof.config.messages import explain_errors
from tailproof.config.recipe import Recipe
from tailproof.config.targets import Targets
from tailproof.config.validation import parse_experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.diagnosis.context import Context
from tailproof.diagnosis.diagnose import taken_over_at
from tailproof.files import read_json
from tailproof.runtime.errors import TailproofError

T = TypeVar("T")


class RunConfig(Strict):
    """Facts about a run of another project; every field is optional."""

    recipe: Recipe | None = None
    classes: int | None = Field(None, ge=2)
    train_samples: Count | None = None
    samples_per_epoch: Count | None = Field(
        None, description="Samples that each epoch of training received."
    )
    targets: Targets = Field({}, description="Values that the run should reach.")


def read_run_config(path: str | Path) -> RunConfig | Experiment:
    """Read an experiment's configuration, or a `RunConfig`.

    Raises:
        TailproofError: one line per mistake.
    """
    value = read_yaml(path)
    if isinstance(value, dict) and "data" in value:
        return parse_experiment(value, str(path))
    if not isinstance(value, dict):
        raise TailproofError(
            f"{path} {'is empty' if value is None else 'has no keys'}, expected keys such as "
            "recipe, classes and targets: write one line 'KEY: VALUE' for each"
        )
    if isinstance(value.get("recipe"), dict):
        value = {**value, "recipe": with_names(value["recipe"])}
    try:
        return RunConfig.model_validate(value)
    except ValidationError as error:
        raise TailproofError(f"{path}: {' '.join(explain_errors(error, RunConfig))}") from None


def context_of(config: RunConfig | Experiment | None, history: str | Path) -> Context:
    """Return what is known about the run of a history.

    The path names the expert, ``…/experts/EXPERT/seed-S/…``. Next to the history, training.json
    names the state that the run took over from another run, and config.json holds the recipe,
    which is used where no configuration is given.
    """
    taken_over = _read_next_to(Path(history), "training.json", taken_over_at)
    if config is None:
        recipe = _read_next_to(Path(history), "config.json", _stored_recipe)
        return Context(recipe=recipe, taken_over=taken_over)
    if isinstance(config, Experiment):
        recipes = config.experts | config.points
        names = [part for part in Path(history).parts if part in recipes]
        recipe = recipes[names[0]] if names else config.recipe
        return Context(recipe=recipe, taken_over=taken_over, targets=config.targets)
    return Context(
        recipe=config.recipe,
        classes=config.classes,
        train_samples=config.train_samples,
        delivered=config.samples_per_epoch,
        taken_over=taken_over,
        targets=config.targets,
    )


def _stored_recipe(config: Any) -> Recipe:
    return Recipe.model_validate(config["tailproof"]["recipe"])


def _read_next_to(history: Path, name: str, extract: Callable[[Any], T]) -> T | None:
    """Extract a value from a JSON file next to a history; None where it is not one of ours."""
    path = history.parent / name
    if not path.is_file():
        return None
    try:
        return extract(read_json(path))
    except (KeyError, TypeError, ValidationError, TailproofError):
        return None
