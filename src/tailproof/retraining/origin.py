"""How a head was trained, by its record: the data, the features and the recipe."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tailproof.config.evaluation import Evaluation
from tailproof.config.features import keys_for
from tailproof.config.recipe import Recipe
from tailproof.config.validation import load_experiment
from tailproof.digests import sha256_file
from tailproof.files import read_json
from tailproof.project import EXPERIMENTS, project_paths
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.ledger import experiment_of, read_ledger
from tailproof.runtime.records import File, Record


@dataclass(frozen=True)
class Origin:
    """What a head was trained on, all of it unchanged since.

    Attributes:
        expert: the folder of the expert, relative to the project.
        experiment: the name of its experiment.
        weights: the file of its weights.
        manifest: shards/manifest.json of the experiment.
        features: the folder of the features of each backbone.
        recipe: its recipe.
        seed: its seed.
        evaluation: the section evaluation of the experiment.
    """

    expert: Path
    experiment: str
    weights: File
    manifest: Path
    features: list[Path]
    recipe: Recipe
    seed: int
    evaluation: Evaluation

    @classmethod
    def read(cls, expert: str | Path) -> "Origin":
        """Read the record of an expert of this project, and check the files that it names.

        Raises:
            TailproofError: no record says how the expert was trained, it is a whole network or
                a student, or a file is not the one that it was trained on.
        """
        folder = _in_project(expert)
        name = experiment_of(folder)
        makers = read_ledger(name).makers if name else {}
        weights = (folder / "model.safetensors").as_posix()
        if name is None or weights not in makers:
            raise TailproofError(
                f"{folder} has no record of its training in this project, so nothing says "
                "which samples it has learnt, expected results/NAME/experts/EXPERT/seed-S: name "
                "such a folder, or run snakemake"
            )
        file = next(file for file in makers[weights].outputs if file.path == weights)
        record = _training(makers[weights], file, makers)
        fields = record.parameters.get("features")
        if not fields:
            raise TailproofError(
                f"{folder} is a network that was trained on images, not a head on features: add "
                f"an expert with features: {{}} and model.weights: {folder} to "
                f"{EXPERIMENTS / name}.yaml, run snakemake, and retrain that expert"
            )
        _check_unchanged(folder, [file, *record.inputs])
        trained = read_json(folder / "config.json")["tailproof"]
        recipe = _recipe(folder, trained["recipe"])
        if recipe.distill:
            raise TailproofError(
                f"{folder} is a student, whose teachers learnt the labels as they were: retrain an "
                f"expert of {EXPERIMENTS / name}.yaml without distill, or correct the source's "
                "labels (tailproof relabel) and run snakemake"
            )
        return cls(
            folder,
            name,
            file,
            project_paths().experiment(name) / "shards" / "manifest.json",
            [project_paths().features(key) for key in keys_for(recipe, fields)],
            recipe,
            trained["seed"],
            load_experiment(EXPERIMENTS / f"{name}.yaml").evaluation,
        )


def _in_project(expert: str | Path) -> Path:
    """Return a path as records spell it: relative to the project, or absolute outside of it."""
    path = os.path.relpath(expert)
    return Path.cwd() / expert if path.startswith(os.pardir) else Path(path)


def _training(record: Record, weights: File, makers: dict[str, Record]) -> Record:
    """Return the record of the training itself; the winner of a sweep is a copy."""
    copied = [file.path for file in record.inputs if file.sha256 == weights.sha256]
    return makers[copied[0]] if record.rule == "winner" else record


def _recipe(folder: Path, fields: dict[str, Any]) -> Recipe:
    try:
        return Recipe(**fields)
    except ValidationError:
        raise TailproofError(
            f"{folder} has a recipe that this version of Tailproof does not read: run snakemake"
        ) from None


def _check_unchanged(folder: Path, files: list[File]) -> None:
    for file in files:
        there = Path(file.path).exists()
        if there and sha256_file(file.path) == file.sha256:
            continue
        raise TailproofError(
            f"{file.path} {'has changed since' if there else 'does not exist, but'} {folder} was "
            f"trained{'' if there else ' with it'}: run snakemake, or get the file with dvc pull"
        )
