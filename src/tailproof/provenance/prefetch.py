"""Fetches weights ahead of a run, on a machine with a network."""

from pathlib import Path
from typing import Any

from tailproof.config.recipe import pretrained_models
from tailproof.config.validation import load_experiment
from tailproof.files import read_json
from tailproof.project import EXPERIMENTS, project_paths
from tailproof.provenance.snakemake_bridge import run
from tailproof.runtime.errors import TailproofError

FAILED = "fetch failed: "
"""How the stage's error begins on the terminal."""


def prefetch(name: str) -> dict[Path, dict[str, Any]]:
    """Fetch the weights that an experiment starts from, or those that timm publishes for a model.

    Args:
        name: an experiment of the project, or a model of timm.

    Returns:
        What the stage fetch found out about the weights, by their file.

    Raises:
        TailproofError: the experiment starts from no weights, or they cannot be fetched.
    """
    keys = [name]
    path = EXPERIMENTS / f"{name}.yaml"
    if path.exists():
        experiment = load_experiment(path)
        keys = list(pretrained_models((experiment.experts | experiment.points).values()))
        if not keys:
            raise TailproofError(
                f"no expert of '{name}' starts from pretrained weights: there is nothing to fetch "
                "unless a recipe sets model.weights"
            )
    files = [project_paths().weights(key) for key in keys]
    done = run(files)
    if done.returncode:
        raise TailproofError(_reason(done.stderr))
    return {file: read_json(file.with_suffix(".json")) for file in files}


def _reason(text: str) -> str:
    """Return why Snakemake failed: the error of the stage, or else all that it printed."""
    lines = text.splitlines()
    failed = [line for line in lines if line.startswith(FAILED)]
    return failed[0].removeprefix(FAILED) if failed else " ".join(map(str.strip, lines))
