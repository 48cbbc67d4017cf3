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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tailproof.config.recipe import KEPT_STATES, Recipe
from tailproof.digests import digest_of, sha256_bytes
from tailproof.files import atomic
from tailproof.runtime.errors import TailproofError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
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
    learning = recipe.result_fields() | {"init_from": start}
    return digest_of([data, used, learning, seed, code])[:KEY_LENGTH]


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Let no other job train this run while the block runs; wait until none does.

    Args:
        folder: of the run, made where there is none.

    Raises:
        TailproofError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise TailproofError(
            f"{folder}, where the state of the run belongs, cannot be written: {error.strerror}; "
            "free space or change its permissions"
        ) from error
    try:
        _wait_for(handle, folder)
        yield
    finally:
        os.close(handle)


def _wait_for(handle: int, folder: Path) -> None:
    told = False
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not for children
            return
        except (BlockingIOError, PermissionError):
            if not told:
                log.info("another job trains the same: waiting until it ends (%s)", folder)
            told = True
        except OSError as error:
            log.warning("%s cannot be locked (%s): let no two jobs train the same", folder, error)
            return
        time.sleep(POLL_SECONDS)


class CheckpointStore:
    """The states of one run, written by the one process that holds its lock.

    Args:
        folder: of this run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for unfinished in folder.glob(".epoch-*"):
            unfinished.unlink(missing_ok=True)

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest whole state with its path; damaged ones before it are set aside."""
        found = read_newest(self.folder)
        for path in newest_first(self.folder):
            if found and path == found[0]:
                break
            path.rename(path.with_name(f"{path.name}.damaged"))
        return found

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
        self.forget(KEPT_STATES)
        return True

    def forget(self, kept: int) -> None:
        """Delete all but the newest states."""
        for old in newest_first(self.folder)[kept:]:
            old.unlink(missing_ok=True)


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
    """Return a state, its tensors on the CPU; None, and a warning, where it is damaged.

    Raises:
        TailproofError: it cannot be read now; it may be whole.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TailproofError(f"{path} cannot be read ({error.strerror}): run again") from error
    if sha256_bytes(content)[:KEY_LENGTH] != path.name.split(".")[1]:
        log.warning("%s is damaged: its content does not match its digest; not used", path)
        return None
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
