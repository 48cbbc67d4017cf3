"""One launcher: a run of one process here, of several through torchrun's agent on each node."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tailproof.core.config.recipe import Recipe
from tailproof.core.errors import Interrupted, TailproofError
from tailproof.core.files import read_json, write_json
from tailproof.training.train import train

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 25  # that the other processes have to leave once one has died
PORT = 29400  # torchrun's own default for rendezvous between nodes
LEAVING = "asked to leave by {}: run again, and it goes on from its last state"


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


def run_node(job: dict[str, Any], path: Path) -> None:
    """Run this node's processes until all end, or one fails and the others are stopped."""
    recipe = job["train"]["recipe"]
    alone = recipe["nodes"] == 1
    config = LaunchConfig(
        min_nodes=recipe["nodes"],
        max_nodes=recipe["nodes"],
        nproc_per_node=recipe["devices"],
        run_id=Path(job["scratch"]).name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0" if alone else f"{job['host']}:{PORT}",
        local_addr="localhost" if alone else None,
        max_restarts=0,
        signals_to_handle="SIGTERM,SIGINT,SIGUSR1",
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # told below, once
    try:
        elastic_launch(config, sys.executable)("-m", "tailproof.training.worker", str(path))
    except SignalException as error:
        raise Interrupted(LEAVING.format(error.sigval.name)) from error
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == Interrupted.status:
            raise Interrupted(LEAVING.format("a signal")) from error
        # What a process recorded is a mapping, what torchrun says of one that was killed a text.
        said = failure.message
        said = said["message"].removeprefix("TailproofError: ") if isinstance(said, dict) else said
        raise TailproofError(
            f"rank {rank} of the run failed first: {said} (its log: "
            f"{rank_log(Path(job['log']), rank)})"
        ) from error


def rank_log(path: Path, rank: int) -> Path:
    """Return where a process rank logs."""
    return path if rank == 0 else path.with_name(f"{path.stem}.rank-{rank}{path.suffix}")


def _run_nodes(path: Path, nodes: int) -> None:
    """Start this module once on each node of the Slurm allocation."""
    if shutil.which("srun") is None or "SLURM_JOB_ID" not in os.environ:
        raise TailproofError(
            f"recipe.nodes is {nodes}: several nodes need a Slurm allocation, and this job has none"
        )
    step = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    done = subprocess.run(
        [*step, "--kill-on-bad-exit=1", sys.executable, "-m", "tailproof.training.launch", path],
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


def _main(path: Path) -> None:
    """Run this node's share, and leave word for the others of what failed here."""
    try:
        run_node(read_json(path), path)
    except TailproofError as error:
        if not isinstance(error, Interrupted):
            node = os.environ.get("SLURM_NODEID", "0")
            path.with_name(f"failed-{node}").write_text(str(error), encoding="utf-8")
        sys.exit(error.status)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
