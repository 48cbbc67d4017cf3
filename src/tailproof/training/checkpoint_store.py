"""Stores the states of a run: content-addressed, verified when read; the last two are kept.

The name of a run's folder is a digest of everything that determines its result. A new job on
another node or under another expert name finds it; another configuration never does. The file name
of a state contains the digest of its content, so that a single rename publishes both.
"""

import fcntl
import io
import logging
import os
import time
from collections.abc import Callable, Iterator
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
KEY_LENGTH = 16  # hex digits of a digest in the name of a folder or file


def state_key(
    manifest: dict[str, Any], recipe: Recipe, seed: int, code: str, start: Any = None
) -> str:
    """Return the key of a run: a digest of its data, recipe, seed and code.

    Args:
        manifest: shards/manifest.json; only its splits train and val count.
        recipe: the recipe; only the fields that affect the result count.
        seed: the seed.
        code: digest of the training code.
        start: digests of the pretrained weights or of the features, if the recipe has any.
    """
    data = {key: value for key, value in manifest.items() if key != "splits"}
    used = {split: manifest["splits"][split]["shards"] for split in ("train", "val")}
    learning = recipe.result_fields() | {"weights": start}
    return digest_of([data, used, learning, seed, code])[:KEY_LENGTH]


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold the lock of a run while the block runs; wait for it if another job holds it.

    Args:
        folder: folder of the run; created if it does not exist.

    Raises:
        TailproofError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise TailproofError(
            f"{folder}, which holds the states of the run, cannot be written ({error.strerror}): "
            "free disk space or change its permissions"
        ) from error
    try:
        _wait_for(handle, folder)
        yield
    finally:
        os.close(handle)


def _wait_for(handle: int, folder: Path) -> None:
    logged = False
    while True:
        try:
            fcntl.lockf(
                handle, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # unlike flock, not inherited by children
            return
        except (BlockingIOError, PermissionError):
            if not logged:
                log.info("waiting for another job that trains the same run (%s)", folder)
            logged = True
        except OSError as error:
            log.warning(
                "%s cannot be locked (%s): do not start two jobs for one run", folder, error
            )
            return
        time.sleep(POLL_SECONDS)


class CheckpointStore:
    """The states of one run, written only by the process that holds its lock.

    Args:
        folder: folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for pattern in (".epoch-*", ".attempts.json.*"):
            for unfinished in folder.glob(pattern):
                unfinished.unlink(missing_ok=True)

    def newest(
        self, misfit: Callable[[dict[str, Any]], str | None]
    ) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest intact state with its path; rename newer, damaged ones.

        Args:
            misfit: returns why a state is not one of this run, or None.
        """
        newest = read_newest(self.folder, misfit)
        for path in newest_first(self.folder):
            if newest and path == newest[0]:
                break
            path.rename(path.with_name(f"{path.name}.damaged"))
        return newest

    def save(self, state: dict[str, Any], epoch: int, step: int) -> bool:
        """Write a state and delete the oldest; return whether it was written, log a failure.

        Args:
            state: tensors and plain values.
            epoch: the epoch in progress; part of the file name.
            step: the number of updates in it; part of the file name.
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
            log.warning("the state could not be saved, the run continues without it: %s", error)
            return False
        self.forget(KEPT_STATES)
        return True

    def forget(self, kept: int) -> None:
        """Delete all but the newest `kept` states."""
        for old in newest_first(self.folder)[kept:]:
            old.unlink(missing_ok=True)


def newest_first(folder: Path) -> list[Path]:
    """Return the paths of a run's states, the newest first."""
    return sorted(folder.glob("epoch-*.pt"), reverse=True)


def read_newest(
    folder: Path, misfit: Callable[[dict[str, Any]], str | None] = lambda _state: None
) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest intact state with its path; log a warning for damaged ones.

    Args:
        folder: folder of the run.
        misfit: returns why a state is damaged although it has the parts of a state, or None.
    """
    for path in newest_first(folder):
        state = read_state(path)
        why = misfit(state["run"]) if state is not None else None
        if why:
            log.warning("%s is damaged: %s; it is skipped", path, why)
        elif state is not None:
            return path, state
    return None


def read_state(path: Path) -> dict[str, Any] | None:
    """Return a state with its tensors on the CPU; None, with a warning, if it is damaged.

    Raises:
        TailproofError: the file cannot be read; it may still be intact.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TailproofError(f"{path} cannot be read ({error.strerror}): run again") from error
    if sha256_bytes(content)[:KEY_LENGTH] != path.name.split(".")[1]:
        log.warning("%s is damaged: its content does not match its digest; it is skipped", path)
        return None
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # any kind: what the file holds decides
        log.warning("%s is damaged: torch cannot read it (%s); it is skipped", path, _short(error))
        return None
    if not _is_state(state):
        log.warning("%s is damaged: it does not hold the state of a run; it is skipped", path)
        return None
    return state


def _is_state(value: Any) -> bool:
    """Return whether a value has the parts of a state."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("run"), dict)
        and isinstance(value.get("seconds"), list)
        and isinstance(value.get("origin", ""), dict | None)
        and all(isinstance(value["run"].get(name), int) for name in ("epoch", "step"))
    )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
