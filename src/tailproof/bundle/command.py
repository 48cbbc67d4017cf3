"""`tailproof bundle`: have Snakemake build the bundle of an ensemble."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tailproof.config.evaluation import ENSEMBLES
from tailproof.config.validation import load_experiment
from tailproof.project import EXPERIMENTS, project_paths
from tailproof.runtime.errors import TailproofError, unknown_name
from tailproof.runtime.stages import BUNDLED, BUNDLES
from tailproof.text import listed, quantity
from tailproof.untrusted_text import printable

Run = Callable[..., subprocess.CompletedProcess[str]]


def build_bundle(experiment: str, method: str, seed: int | None, run: Run) -> Path:
    """Build the bundle of an ensemble, and all that it is made of; return its folder.

    Args:
        experiment: name of the experiment.
        method: how the experts are combined.
        seed: the seed of the experts. Default: the first one.
        run: runs Snakemake for files.

    Raises:
        TailproofError: there is no such experiment, method or seed, it has a single expert, or
            Snakemake failed.
    """
    config = load_experiment(EXPERIMENTS / f"{experiment}.yaml")
    if method not in ENSEMBLES:
        raise unknown_name("method", printable(method), ENSEMBLES)
    if len(config.combined) < 2:
        raise TailproofError(
            f"'{experiment}' has {quantity(len(config.combined), 'expert')}, but an ensemble "
            "needs at least two: use the folder of the expert itself"
        )
    chosen = config.seeds[0] if seed is None else seed
    if chosen not in config.seeds:
        raise TailproofError(
            f"'{experiment}' has no seed {chosen}, expected one of its seeds "
            f"({listed(list(map(str, config.seeds)))}): choose one of these"
        )
    folder = project_paths().experiment(experiment) / BUNDLES / method / f"seed-{chosen}"
    done = run([folder / name for name in BUNDLED])
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        raise TailproofError(f"Snakemake could not build {folder}:\n{output}")
    return folder
