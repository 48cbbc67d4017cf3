"""Cross-fitting: writes and reads the experiments of all folds of one experiment."""

from pathlib import Path
from typing import Any

from tailproof.config.experiment import Experiment
from tailproof.config.validation import load_experiment, parse_experiment
from tailproof.config.yaml_reader import read_yaml, yaml_text
from tailproof.files import write_text
from tailproof.project import EXPERIMENTS
from tailproof.runtime.errors import TailproofError

MARK = "# Fold "
"""How a file begins that `write_folds` wrote, and may write again."""

IN_WORDS = ("title", "description", "report")
"""Fields in which a fold may differ from its experiment."""


def write_folds(name: str, folds: int) -> list[str]:
    """Write the experiment of every fold; return the paths.

    Args:
        name: the experiment that they are made from.
        folds: number of folds, at least 2.

    Raises:
        TailproofError: the experiment is wrong or itself a fold, or a file exists that is not of
            these folds.
    """
    experiment = load_experiment(_path(name))
    if experiment.data.splits.fold:
        raise TailproofError(
            f"{_path(name)} has data.splits.fold, so it is a fold itself: name the experiment that "
            "the folds are made from"
        )
    paths = [_path(_fold_name(name, index)) for index in range(folds)]
    for path in paths:
        if path.exists() and not _text(path).startswith(MARK):
            raise TailproofError(
                f"{path} exists, and this command did not write it: rename it, or {_path(name)}"
            )
    others = sorted(set(EXPERIMENTS.glob(f"{name}-fold-*.yaml")) - set(paths))
    others = [path for path in others if _text(path).startswith(MARK)]
    if others:
        raise TailproofError(
            f"{others[0]} is a fold of more than {folds}: delete it, or write more folds"
        )
    value = read_yaml(_path(name))
    for index, path in enumerate(paths):
        header = (
            f"{MARK}{index} of {folds} of {name}.yaml. Do not edit: change {name}.yaml, then run\n"
            f"# tailproof folds {name} --of {folds}\n"
        )
        write_text(path, header + yaml_text(_fold(value, index, folds)))
    return [path.as_posix() for path in paths]


def read_folds(name: str) -> list[str]:
    """Return the names of the experiments of all folds of an experiment.

    Raises:
        TailproofError: they are missing or wrong, or differ from the experiment as it is now.
    """
    load_experiment(_path(name))
    first = _path(_fold_name(name, 0))
    if not first.exists():
        raise TailproofError(f"{first} does not exist: run `tailproof folds {name}` first")
    fold = load_experiment(first).data.splits.fold
    folds = fold.of if fold else 0
    value = read_yaml(_path(name))
    names = [_fold_name(name, index) for index in range(folds)]
    for index, fold_name in enumerate(names):
        expected = parse_experiment(_fold(value, index, folds), str(_path(name)))
        key = _first_difference(
            _comparable(load_experiment(_path(fold_name))), _comparable(expected)
        )
        if key:
            raise TailproofError(
                f"{_path(fold_name)} differs from {_path(name)} in {key}: run `tailproof folds "
                f"{name} --of {folds}` again"
            )
    if not names:
        raise TailproofError(f"{first} has no data.splits.fold: run `tailproof folds {name}` again")
    return names


def _path(name: str) -> Path:
    return EXPERIMENTS / f"{name}.yaml"


def _fold_name(name: str, index: int) -> str:
    return f"{name}-fold-{index}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _fold(value: dict[str, Any], index: int, folds: int) -> dict[str, Any]:
    """Return the plain values of the experiment of a fold."""
    splits = {**value["data"].get("splits", {}), "fold": {"index": index, "of": folds}}
    title = f"{value['title']}, fold {index} of {folds}"
    return {**value, "title": title, "data": {**value["data"], "splits": splits}}


def _comparable(experiment: Experiment) -> dict[str, Any]:
    fields = experiment.result_fields()
    return {key: fields[key] for key in fields if key not in IN_WORDS}


def _first_difference(one: Any, other: Any) -> str:
    """Return the dotted key of the first difference between plain values; empty if equal."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return ""
    for key in {**one, **other}:
        if one.get(key) != other.get(key):
            below = _first_difference(one.get(key), other.get(key))
            return f"{key}.{below}" if below else str(key)
    return ""
