"""Loads and validates configuration files; reports one sentence per error."""

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tailproof.config.base import NAME
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
        raise TailproofError(
            f"{origin}: expected a mapping of keys, found {_kind(value)}: write one line "
            "'KEY: VALUE' for each key"
        )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = explain_errors(error, model)
        separator = " " if len(lines) == 1 else "\n  "
        raise TailproofError(f"{origin}:{separator}" + separator.join(lines)) from None


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return "a list" if isinstance(value, list) else f"the single value {value!r:.40}"


def _check_exists(path: Path) -> None:
    """Check that the file of an experiment exists, and that its name can be that of a folder."""
    if not re.fullmatch(NAME, path.stem):
        raise TailproofError(
            f"{path}: the name of an experiment may contain only letters, digits, '_', '-' and "
            f"'.', and begins with a letter or digit, found {path.stem!r}: rename the file"
        )
    if path.exists():
        return
    name = _without_suffixes(path.stem)
    right = path.with_name(f"{name}.yaml")
    if name != path.stem and right.exists():
        raise TailproofError(
            f"{path} does not exist: write the name of the experiment without an ending, '{name}'"
        )
    if other := _other_spelling(path):
        raise TailproofError(
            f"{path} does not exist, but {other} does: rename that file to {right}"
        )
    near = suggestion(path.stem, (other.stem for other in path.parent.glob("*.yaml")))
    raise TailproofError(f"{path} does not exist{near or ': create it, or correct the name'}")


def _other_spelling(path: Path) -> Path | None:
    """Return a file that is probably meant: with another ending, or in a folder above or below."""
    name = _without_suffixes(path.stem).lower()
    files = [*sorted(path.parent.rglob("*")), *sorted(path.parent.parent.glob("*"))]
    return next(
        (
            file
            for file in files
            if _without_suffixes(file.name).lower() == name
            and not _is_experiment(file, path.parent)
            and file.is_file()
        ),
        None,
    )


def _is_experiment(file: Path, folder: Path) -> bool:
    return file.parent == folder and file.suffix == ".yaml" and bool(re.fullmatch(NAME, file.stem))


def _without_suffixes(name: str) -> str:
    return re.sub(r"(\.(ya?ml|txt|json|bak|orig)|~)+$", "", name, flags=re.IGNORECASE).strip()
