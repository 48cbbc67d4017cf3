"""From files and plain values to the configuration, or one clear sentence a mistake."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tailproof.config.experiment import Config, Experiment
from tailproof.config.messages import explain_errors
from tailproof.config.yaml_reader import read_yaml
from tailproof.runtime.errors import TailproofError, suggestion

Model = TypeVar("Model", bound=BaseModel)


def load_config(path: str | Path) -> Config:
    """Read and check ``config/config.yaml``.

    Raises:
        TailproofError: one line a mistake; an experiment without a file is one.
    """
    return parse_config(read_yaml(path), path)


def parse_config(value: Any, path: str | Path) -> Config:
    """Check what stands in ``config/config.yaml``, at `path`, against its model and the files."""
    config = _parse(Config, value, str(path))
    folder = Path(path).parent / "experiments"
    for name in config.experiments:
        _check_exists(folder / f"{name}.yaml")
    return config


def load_experiment(path: str | Path) -> Experiment:
    """Read and check ``config/experiments/NAME.yaml``.

    Raises:
        TailproofError: one line a mistake, with the field, what was found and a suggestion.
    """
    _check_exists(Path(path))
    return parse_experiment(read_yaml(path), str(path))


def parse_experiment(value: Any, origin: str = "the configuration") -> Experiment:
    """Check a plain value against the model of an experiment."""
    return _parse(Experiment, value, origin)


def _parse(model: type[Model], value: Any, origin: str) -> Model:
    if not isinstance(value, dict):
        raise TailproofError(f"{origin} holds {type(value).__name__}, expected a mapping of keys")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = explain_errors(error, model)
        between = " " if len(lines) == 1 else "\n  "
        raise TailproofError(f"{origin}:{between}" + between.join(lines)) from None


def _check_exists(path: Path) -> None:
    if not path.exists():
        near = suggestion(path.stem, (other.stem for other in path.parent.glob("*.yaml")))
        raise TailproofError(f"{path} does not exist{near}")
