"""Launches a run: one process in this job, several through torchrun's agent on each node."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.data.shard_check import verify
from tailproof.digests import known_sha256
from tailproof.files import read_json, write_json
from tailproof.models.initial_weights import weights_file
from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.signals import REQUEST
from tailproof.runtime.undeclared_reads import declared_reads
from tailproof.training.checkpoint_store import lock_run, state_key
from tailproof.training.distributed import ProcessGroup
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.run import TrainingRun
from tailproof.training.torchrun import FAILED, LEAVING, run_node
from tailproof.training.train import train


def launch(
    manifest: str | Path,
    recipe: Recipe,
    seed: int,
    folder: str | Path,
    states: str | Path,
    code: str,
    log_file: str | Path,
    until: int = 0,
    digests: Mapping[str, str] | None = None,
    teacher: str | Path | None = None,
) -> None:
    """Train one expert on the recipe's devices and nodes.

    Args:
        manifest: shards/manifest.json.
        recipe: the recipe.
        seed: seed of the initial weights, sample order and augmentation.
        folder: folder for the files that `train` writes.
        states: folder of the states of all runs.
        code: digest of the training code.
        log_file: log of rank 0; rank R writes to ``…rank-R`` next to it.
        until: last epoch of this round of a sweep; 0 trains to the end.
        digests: SHA-256 of inputs that were already hashed, by path.
        teacher: what the stage teach wrote, for a student.

    Raises:
        Interrupted: a signal asked the run to stop; its state is saved.
        TailproofError: a shard does not match the manifest, or training failed; with several
            processes, the error of the one that failed first.
    """
    digests = digests or {}
    verify(manifest, "train", "val", digests=digests)
    weights = weights_file(recipe.model)
    start: Any = known_sha256(weights, digests) if weights else None
    start = (start, known_sha256(teacher, digests)) if teacher else start
    key = state_key(read_json(manifest), recipe, seed, code, start)
    run_folder = Path(states) / key
    with lock_run(run_folder):
        if recipe.devices * recipe.nodes == 1:
            with REQUEST.save_first():
                learner = NetworkOnImages(manifest, recipe)
                run = TrainingRun(learner, seed, ProcessGroup(1), until, teacher)
                train(run, folder, states, key, REQUEST)
            return
        arguments = {
            "manifest": str(manifest),
            "recipe": recipe.model_dump(mode="json"),
            "seed": seed,
            "folder": str(folder),
            "states": str(states),
            "key": key,
            "until": until,
            "teacher": str(teacher) if teacher else None,
        }
        _launch_many(arguments, recipe, run_folder, log_file)


def _launch_many(
    arguments: dict[str, Any], recipe: Recipe, state: Path, log_file: str | Path
) -> None:
    for left in state.glob("launch-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="launch-", dir=state) as scratch:
        reads = declared_reads()
        job = {
            "reads": reads.as_json() if reads else None,
            "train": arguments,
            "log": str(log_file),
            "scratch": scratch,
            "meeting": _meeting_point(),
        }
        path = Path(scratch) / "job.json"
        write_json(path, job)
        if recipe.nodes == 1:
            run_node(job, path)
        else:
            with REQUEST.save_first():  # srun forwards a signal and waits for the nodes
                _run_nodes(path, recipe)


def _meeting_point() -> str:
    """Return the rendezvous host and port; the port depends on the job, as hosts are shared."""
    host = os.environ.get("SLURMD_NODENAME", "localhost")
    return f"{host}:{20000 + int(os.environ.get('SLURM_JOB_ID', '0')) % 10000}"


def _run_nodes(path: Path, recipe: Recipe) -> None:
    """Start `tailproof.training.torchrun` once on each node of the Slurm allocation."""
    nodes = recipe.nodes
    if shutil.which("srun") is None or "SLURM_JOB_ID" not in os.environ:
        raise TailproofError(
            f"recipe.nodes is {nodes}, which needs a Slurm allocation, found none: run with the "
            "profile slurm or set 'nodes: 1'"
        )
    cores = recipe.devices * (recipe.threads + recipe.workers)
    step = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    step.append(f"--cpus-per-task={cores}")  # a step does not inherit this from its job
    done = subprocess.run(
        [*step, "--kill-on-bad-exit=1", sys.executable, "-m", "tailproof.training.torchrun", path],
        check=False,
    )
    first = path.with_name(FAILED)
    if first.exists():  # the first error; the nodes that it stopped may report others
        raise TailproofError(first.read_text(encoding="utf-8"))
    if done.returncode == Interrupted.status:
        raise Interrupted(LEAVING.format("a signal"))
    if done.returncode:
        raise TailproofError(
            f"srun ended with status {done.returncode} and no process reported an error: see "
            f"Slurm's output of job {os.environ['SLURM_JOB_ID']} and check that its nodes are up"
        )
