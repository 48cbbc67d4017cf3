"""Attempts to train, each in a process of its own that can be killed or made to kill itself."""

import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path

from tailproof.config.recipe import Recipe
from tailproof.runtime.job_logging import job_logging
from tailproof.runtime.signals import REQUEST, take_signals
from tailproof.training.launcher import launch

# Processes fork from one that has imported everything and computed nothing.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.training.interrupted_runs"])

TINY = {
    "model": {"name": "cifar_resnet20"},
    "optimizer": {"learning_rate": 0.05},
    "epochs": 3,
    "batch_size": 64,
    "augmentation": {"crop_padding": 1},
}
RECIPE = {**TINY, "epochs": 4, "export": "best", "checkpoint": {"steps": 3}}


def start(manifest, folder, changes=None, *, crash=None, largest_file=None, until=0):
    """Start an attempt in `folder`/expert/seed-0, its states in `folder`/states.

    Args:
        manifest: of the shards.
        folder: of everything that is written.
        changes: to the recipe.
        crash: (stage, number): kill itself at this stage of the write with that number; a third
            item names another signal to send itself, once.
        largest_file: bytes; the disk is as if full for larger files.
        until: the epoch to train to for now.
    """
    arguments = (str(manifest), str(folder), changes or {}, crash, largest_file, until)
    process = PROCESSES.Process(target=_attempt, args=arguments)
    process.start()
    return process


def finish(process):
    """Wait for an attempt; return its exit code, negative for a signal."""
    process.join()
    return process.exitcode


def outputs(folder):
    """Return the bytes of what a finished run must always write alike."""
    names = ("model.safetensors", "config.json", "history.csv")
    return {name: (Path(folder) / "expert/seed-0" / name).read_bytes() for name in names}


def _attempt(manifest, folder, changes, crash, largest_file, until):
    # As in a process that Snakemake starts; a child of a fork server would start another.
    multiprocessing.set_start_method("fork", force=True)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder, "stderr.txt"), "w", encoding="utf-8") as output:
        os.dup2(output.fileno(), sys.stderr.fileno())
    if crash:
        _crash_at(*crash)
    if largest_file:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    take_signals()
    with job_logging("train", Path(folder, "train.log")), REQUEST.leave_at_once():
        launch(
            manifest,
            Recipe(**{**RECIPE, **changes}),
            0,
            Path(folder, "expert/seed-0"),
            Path(folder, "states"),
            "code",
            Path(folder, "train.log"),
            until,
        )


def _crash_at(stage, number, sent=signal.SIGKILL):
    """Let the process be killed in the midst of the write of state `number` (from 1)."""
    count, signals = 0, [sent]
    real = {
        "write": Path.write_bytes,
        "unlink": Path.unlink,
        "fsync": os.fsync,
        "replace": os.replace,
    }

    def die():
        if signals:
            os.kill(os.getpid(), signals.pop())

    def write(path, content):
        nonlocal count
        if ".epoch-" not in path.name:
            return real["write"](path, content)
        count += 1
        if count == number:
            if stage == "created":
                die()
            if stage == "half written":
                real["write"](path, bytes(content)[: len(content) // 2])
                die()
            real["write"](path, content)
            if stage == "written":
                die()
            return None
        return real["write"](path, content)

    def fsync(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        real["fsync"](handle)
        if count == number and (
            (stage == "synced" and ".epoch-" in path.name)
            or (stage == "folder synced" and path.is_dir())
        ):
            die()

    def replace(source, target):
        real["replace"](source, target)
        if count == number and stage == "renamed":
            die()

    def unlink(path, missing_ok=False):
        if count >= number and stage == "old deleted" and path.name.startswith("epoch-"):
            real["unlink"](path)
            die()
        real["unlink"](path, missing_ok=missing_ok)

    Path.write_bytes, Path.unlink, os.fsync, os.replace = write, unlink, fsync, replace


STAGES = (
    "created",
    "half written",
    "written",
    "synced",
    "renamed",
    "folder synced",
    "old deleted",
)
