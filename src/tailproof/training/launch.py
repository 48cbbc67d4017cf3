"""One launcher: a run of one process here, of several through torchrun's agent on each node."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tailproof.core.config.recipe import Recipe
from tailproof.core.errors import Interrupted, TailproofError
from tailproof.core.files import write_json
from tailproof.training.node import LEAVING, run_node
from tailproof.training.train import train


def launch(
    manifest: str | Path,
    recipe: Recipe,
    seed: int,
    folder: str | Path,
    states: str | Path,
    code: str,
    log_file: str | Path,
) -> None:
    """Train one expert on the recipe's devices and nodes.

    Args:
        manifest: shards/manifest.json.
        recipe: how.
        seed: of initial weights, order and augmentation.
        folder: where the four files go.
        states: folder of the states of all runs.
        code: digest of the code that trains.
        log_file: where rank 0 logs; rank R writes to ``…rank-R`` beside it.

    Raises:
        Interrupted: a signal asked the run to leave; its state is saved.
        TailproofError: as `train` does, or that of the process which failed first.
    """
    if recipe.devices * recipe.nodes == 1:
        train(manifest, recipe, seed, folder, states, code)
        return
    with tempfile.TemporaryDirectory(prefix="launch-", dir=_made(Path(states))) as scratch:
        job = {
            "train": {
                "manifest": str(manifest),
                "recipe": recipe.model_dump(mode="json"),
                "seed": seed,
                "folder": str(folder),
                "states": str(states),
                "code": code,
            },
            "log": str(log_file),
            "scratch": scratch,
            "host": os.environ.get("SLURMD_NODENAME", "localhost"),
        }
        path = Path(scratch) / "job.json"
        write_json(path, job)
        if recipe.nodes == 1:
            run_node(job, path)
        else:
            _run_nodes(path, recipe.nodes)


def _run_nodes(path: Path, nodes: int) -> None:
    """Start the node module once on each node of the Slurm allocation."""
    if shutil.which("srun") is None or "SLURM_JOB_ID" not in os.environ:
        raise TailproofError(
            f"recipe.nodes is {nodes}: several nodes need a Slurm allocation, and this job has none"
        )
    step = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    done = subprocess.run(
        [*step, "--kill-on-bad-exit=1", sys.executable, "-m", "tailproof.training.node", path],
        check=False,
    )
    if done.returncode == Interrupted.status:
        raise Interrupted(LEAVING.format("a signal"))
    if done.returncode:
        told = sorted(Path(path).parent.glob("failed-*"), key=lambda file: file.stat().st_mtime_ns)
        first = told[0].read_text(encoding="utf-8") if told else f"srun ended {done.returncode}"
        raise TailproofError(first)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
