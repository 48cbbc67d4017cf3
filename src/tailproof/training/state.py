"""The state of a run on disk: found by what the run is, checked when read, the last two kept.

A run's folder is named by the digest of all that decides its result, so that a new job, another
node or another expert's name finds it, and another configuration never does. A state's file name
carries its digest, so that one rename makes content and digest appear together; epoch and step
are inside.
"""

import fcntl
import io
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from tailproof.core.config.recipe import Recipe
from tailproof.core.digests import digest_of, sha256_bytes
from tailproof.core.errors import TailproofError
from tailproof.core.files import atomic

log = logging.getLogger(__name__)

KEPT = 2
KEY_LENGTH = 16  # hex digits of a digest that name a folder or a file


def state_key(
    manifest: dict[str, Any], recipe: Recipe, seed: int, code: str, start: str | None = None
) -> str:
    """Return the name of a run: a digest of its data, recipe, seed and code.

    Args:
        manifest: of the shards; of its splits only train and val take part in training.
        recipe: of which only what decides the result counts.
        seed: of the run.
        code: digest of the code that trains.
        start: digest of the weights that the run starts from, if it starts from others.
    """
    data = {key: value for key, value in manifest.items() if key != "splits"}
    used = {split: manifest["splits"][split]["shards"] for split in ("train", "val")}
    return digest_of([data, used, recipe.learning(), seed, code, start])[:KEY_LENGTH]


class Store:
    """The states of one run; whoever holds the store's lock trains it.

    Args:
        folder: of this run, made where there is none.

    Raises:
        TailproofError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / "lock")
        except OSError as error:
            raise TailproofError(
                f"{folder}, where the state of the run belongs, cannot be written: "
                f"{error.strerror}; free space or change its permissions"
            ) from error
        for unfinished in folder.glob(".epoch-*"):
            unfinished.unlink(missing_ok=True)

    def save(self, state: dict[str, Any], epoch: int, step: int) -> bool:
        """Write a state and forget the oldest; return False, and say so, where that fails.

        Args:
            state: tensors and plain values.
            epoch: the epoch in progress, which orders the files.
            step: updates made in it, likewise.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getbuffer()
        digest = sha256_bytes(content)[:KEY_LENGTH]
        path = self.folder / f"epoch-{epoch:06d}-step-{step:09d}.{digest}.pt"
        try:
            with atomic(path) as temporary:
                temporary.write_bytes(content)
        except (TailproofError, OSError) as error:
            log.warning("the run goes on without saving its state: %s", error)
            return False
        self.forget(KEPT)
        return True

    def forget(self, kept: int) -> None:
        """Delete all but the newest states."""
        for old in newest_first(self.folder)[kept:]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another job train this run."""
        if self._lock is not None:
            os.close(self._lock)


def newest_first(folder: Path) -> list[Path]:
    """Return the paths of a run's states."""
    return sorted(folder.glob("epoch-*.pt"), reverse=True)


def read_newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest state that is whole, with its path; a damaged one is told and passed."""
    for path in newest_first(folder):
        state = read_state(path)
        if state is not None:
            return path, state
    return None


def read_state(path: Path) -> dict[str, Any] | None:
    """Return a state, its tensors on the CPU; None, and a warning, where it is damaged."""
    try:
        content = path.read_bytes()
        if sha256_bytes(content)[:KEY_LENGTH] != path.name.split(".")[1]:
            log.warning("%s is damaged: its content does not match its digest; not used", path)
            return None
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        log.warning("%s cannot be read (%s); not used", path, error)
        return None


def _locked(path: Path) -> int | None:
    """Hold an exclusive lock until the process ends; None where the file system has none."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("another job trains the same: waiting until it ends (%s)", path)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        log.warning("%s cannot be locked (%s): let no two jobs train the same", path, error)
        os.close(handle)
        return None
    return handle
