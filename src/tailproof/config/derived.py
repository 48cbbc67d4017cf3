"""Experiments that a command writes from another one, and that must not differ from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailproof.config.experiment import Experiment
from tailproof.config.recipe import pretrained_models
from tailproof.config.validation import load_experiment, parse_experiment
from tailproof.config.yaml_reader import yaml_text
from tailproof.files import write_text
from tailproof.project import EXPERIMENTS, project_paths
from tailproof.runtime.errors import TailproofError

IN_WORDS = ("title", "description", "report")
"""Fields in which a derived experiment may differ from the one that it is made from."""


@dataclass(frozen=True)
class Derived:
    """The experiments that are made from one.

    Attributes:
        name: the experiment that they are made from.
        kind: the word for one of them, which its name has: ``fold`` or ``draw``.
        command: the command that writes them.
        values: the plain values of each, by what its name ends in.
    """

    name: str
    kind: str
    command: str
    values: dict[str, dict[str, Any]]

    @property
    def names(self) -> list[str]:
        """The names of the experiments."""
        return [f"{self.name}-{self.kind}-{ending}" for ending in self.values]

    def write(self) -> list[str]:
        """Write their files; return the paths.

        Raises:
            TailproofError: a file exists that this command did not write, or is not of these.
        """
        paths = [experiment_path(name) for name in self.names]
        mark = f"# {self.kind.capitalize()} "  # how a file begins that may be written again
        for path in paths:
            if path.exists() and not _text(path).startswith(mark):
                raise TailproofError(
                    f"{path} exists, but this command did not write it: rename this file, or "
                    f"{experiment_path(self.name)}"
                )
        others = sorted(set(EXPERIMENTS.glob(f"{self.name}-{self.kind}-*.yaml")) - set(paths))
        others = [path for path in others if _text(path).startswith(mark)]
        if others:
            raise TailproofError(
                f"`{self.command}` does not write {', '.join(map(str, others))}, which an earlier "
                f"command left: delete {'it' if len(others) == 1 else 'them'}, or correct the "
                "command or the experiment"
            )
        for ending, path, value in zip(self.values, paths, self.values.values(), strict=True):
            header = (
                f"{mark}{ending} of {self.name}.yaml. Do not edit: change {self.name}.yaml, then "
                f"run\n# {self.command}\n"
            )
            write_text(path, header + yaml_text(value))
        return [path.as_posix() for path in paths]

    def check(self) -> list[str]:
        """Check the files; return the names of the experiments.

        Raises:
            TailproofError: one is missing or wrong, or differs from the experiment as it is now.
        """
        origin = experiment_path(self.name)
        for name, value in zip(self.names, self.values.values(), strict=True):
            path = experiment_path(name)
            if not path.exists():
                raise TailproofError(f"{path} does not exist: run `{self.command}`")
            expected = parse_experiment(value, str(origin))
            key = _first_difference(_comparable(load_experiment(path)), _comparable(expected))
            if key:
                raise TailproofError(
                    f"{path} differs from {origin} in {key}: run `{self.command}` again"
                )
        return self.names


def refuse_seen_images(name: str, experiment: Experiment) -> None:
    """Refuse to derive experiments whose test images their pretrained weights have seen.

    Raises:
        TailproofError: an expert starts from one of an experiment on the same source.
    """
    recipes = [*experiment.experts.values(), *experiment.points.values()]
    for model in pretrained_models(recipes).values():
        parts = project_paths().inside(model.weights or "") or ("",)
        other = experiment_path(parts[0])
        if other.exists() and load_experiment(other).data.source == experiment.data.source:
            raise TailproofError(
                f"{experiment_path(name)} starts from {model.weights}, which was trained on test "
                "images of other folds or draws: start from other weights"
            )


def experiment_path(name: str) -> Path:
    """Return the path of an experiment's file."""
    return EXPERIMENTS / f"{name}.yaml"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


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
