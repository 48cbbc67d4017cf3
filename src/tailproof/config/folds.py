"""Cross-fitting: writes and reads the experiments of all folds of one experiment."""

from typing import Any

from tailproof.config.derived import Derived, experiment_path, refuse_seen_images
from tailproof.config.validation import load_experiment
from tailproof.config.yaml_reader import read_yaml
from tailproof.runtime.errors import TailproofError


def write_folds(name: str, folds: int) -> list[str]:
    """Write the experiment of every fold; return the paths.

    Args:
        name: the experiment that they are made from.
        folds: number of folds, at least 2.

    Raises:
        TailproofError: the experiment is wrong or itself a fold, or a file exists that is not of
            these folds.
    """
    path = experiment_path(name)
    if load_experiment(path).data.splits.fold:
        raise TailproofError(
            f"{path} has data.splits.fold, so it is a fold itself: name the experiment that the "
            "folds are made from"
        )
    return _folds(name, folds).write()


def read_folds(name: str) -> list[str]:
    """Return the names of the experiments of all folds of an experiment.

    Raises:
        TailproofError: they are missing or wrong, or differ from the experiment as it is now.
    """
    load_experiment(experiment_path(name))
    first = experiment_path(f"{name}-fold-0")
    if not first.exists():
        raise TailproofError(f"{first} does not exist: run `tailproof folds {name}` first")
    fold = load_experiment(first).data.splits.fold
    if fold is None:
        raise TailproofError(f"{first} has no data.splits.fold: run `tailproof folds {name}` again")
    return _folds(name, fold.of).check()


def _folds(name: str, folds: int) -> Derived:
    path = experiment_path(name)
    refuse_seen_images(name, load_experiment(path))
    value = read_yaml(path)
    values = {str(index): _fold(value, index, folds) for index in range(folds)}
    return Derived(name, "fold", f"tailproof folds {name} --of {folds}", values)


def _fold(value: dict[str, Any], index: int, folds: int) -> dict[str, Any]:
    """Return the plain values of the experiment of a fold."""
    data = {key: section for key, section in value["data"].items() if key != "seeds"}
    data["splits"] = {**data.get("splits", {}), "fold": {"index": index, "of": folds}}
    return {**value, "title": f"{value['title']}, fold {index} of {folds}", "data": data}
