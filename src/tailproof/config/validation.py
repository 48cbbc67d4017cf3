"""Loads and validates configuration files; reports one sentence per error."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tailproof.config.experiment import Config, Experiment
from tailproof.config.messages import explain_errors
from tailproof.config.yaml_reader import read_yaml
from tailproof.runtime.errors import TailproofError, suggestion

Model = TypeVar("Model", bound=BaseModel)


def load_config(path: str | Path) -> Config:
    """Read and validate ``config/config.yaml``.

    Raises:
        TailproofError: the file or a listed experiment is missing, or a field is invalid; one line
            per error.
    """
    return parse_config(read_yaml(path), path)


def parse_config(value: Any, path: str | Path) -> Config:
    """Validate the content of ``config/config.yaml`` and check that its experiments exist."""
    config = _parse(Config, value, str(path))
    folder = Path(path).parent / "experiments"
    for name in config.experiments:
        _check_exists(folder / f"{name}.yaml")
    return config


def load_experiment(path: str | Path) -> Experiment:
    """Read and validate ``config/experiments/NAME.yaml``.

    Raises:
        TailproofError: the file is missing or a field is invalid; one line per error, with the
            field, the value and a suggestion.
    """
    _check_exists(Path(path))
    return parse_experiment(read_yaml(path), str(path))


def parse_experiment(value: Any, origin: str = "the configuration") -> Experiment:
    """Validate plain values as an experiment."""
    return _parse(Experiment, value, origin)


def _parse(model: type[Model], value: Any, origin: str) -> Model:
    if not isinstance(value, dict):
        raise TailproofError(f"{origin}: expected a mapping of keys, found {type(value).__name__}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = explain_errors(error, model)
        separator = " " if len(lines) == 1 else "\n  "
        raise TailproofError(f"{origin}:{separator}" + separator.join(lines)) from None


def _check_exists(path: Path) -> None:
    if not path.exists():
        near = suggestion(path.stem, (other.stem for other in path.parent.glob("*.yaml")))
        raise TailproofError(f"{path} does not exist{near}")
