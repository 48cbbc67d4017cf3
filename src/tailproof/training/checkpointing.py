"""Saves the state of a run when due and restores it when the run resumes."""

import logging
import time
from pathlib import Path
from typing import Any

from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.signals import StopRequest
from tailproof.training.attempts import Attempts
from tailproof.training.checkpoint_store import (
    CheckpointStore,
    newest_first,
    read_newest,
    read_state,
)
from tailproof.training.run import TrainingRun

log = logging.getLogger(__name__)

CHEAP_SECONDS = 10.0  # training that takes less is repeated rather than saved


class Checkpointer:
    """Saves a run at intervals, at the end of epochs and on a stop signal; restores it.

    Rank 0 reads the clock and writes; all ranks save after the same batch.

    Args:
        states: folder of the states of all runs.
        key: key of this run.
        run: the run to save and restore.
        stop: whether a signal asked this process to stop.

    Attributes:
        seconds: duration of each finished epoch in the attempt that finished it.
        origin: key, epoch and step of the state that `resume_from` refers to; else None.
        attempts: the attempts of the run; None on ranks other than 0.
    """

    def __init__(self, states: Path, key: str, run: TrainingRun, stop: StopRequest) -> None:
        self.key = key
        self.seconds: list[float] = []
        self.origin: dict[str, Any] | None = None
        self._states, self._run, self._stop = states, run, stop
        self._store = CheckpointStore(states / key) if run.ranks.main else None
        self.attempts = Attempts(states / key) if run.ranks.main else None
        self._saved_at = time.monotonic()
        self._saved: tuple[int, int] | None = None

    def restore(self) -> None:
        """Restore the newest intact state, if there is one, and begin an attempt.

        Raises:
            TailproofError: the state that `resume_from` refers to does not exist or does not fit.
        """
        run = self._run
        state, origin = self._find()
        if state is None:
            run.begin()
            log.info("run %s: no state found, starts at epoch 1", self.key)
        else:
            run.restore(state["run"], adopted=origin is not None)
            self.seconds, self.origin = state["seconds"], origin or state["origin"]
            self._saved = (run.epoch, run.step)
            log.info("run %s: resumes in epoch %d after step %d", self.key, run.epoch, run.step)
        if self.attempts:
            self.attempts.begin(self._epoch_now, str(run.device), run.ranks.world)

    def at_boundary(self) -> None:
        """Save the state after a batch, if due.

        Raises:
            Interrupted: a signal asked this rank or another to stop.
        """
        every, run = self._run.recipe.checkpoint, self._run
        if every.minutes is not None:
            due = run.ranks.main and time.monotonic() - self._saved_at >= 60 * every.minutes
        else:
            due = every.steps is not None and run.step % every.steps == 0
        asked, due = run.ranks.any(self._stop.signal is not None, due)
        if asked:
            self._leave()
        if due:
            self._save()

    def at_epoch_end(self, seconds: float) -> None:
        """Save the state after an epoch, unless the last save was only seconds ago."""
        run = self._run
        self.seconds.append(round(seconds, 3))
        late = time.monotonic() - self._saved_at >= CHEAP_SECONDS
        always = run.recipe.checkpoint.steps is not None or run.finished
        (due,) = run.ranks.any(late or always)
        if due:
            self._save()

    def end(self, reason: str) -> None:
        """Record why the attempt ends."""
        if self.attempts:
            self.attempts.end(self._epoch_trained, reason)

    def forget(self) -> None:
        """Delete all states but the newest, because the run is finished."""
        if self._store:
            self._store.forget(1)

    @property
    def _epoch_now(self) -> int:
        """The epoch in progress; for a finished run, the last one."""
        return self._run.epoch - 1 if self._run.finished else self._run.epoch

    @property
    def _epoch_trained(self) -> int:
        """The last epoch in which an update was made."""
        return self._run.epoch if self._run.step else max(self._run.epoch - 1, 1)

    def _find(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return the state to resume from, and its origin if it belongs to another run."""
        run, origin = self._run, None
        newest = self._store.newest(run.misfit) if self._store else None
        if self._store and newest is None and run.recipe.resume_from is not None:
            newest = self._newest_of_run(run.recipe.resume_from)
            origin = {"key": run.recipe.resume_from, **_position(newest[1])}
        path, state = newest or (None, None)
        path, origin = run.ranks.broadcast([path, origin])
        if path and not run.ranks.main:
            state = read_state(path)
        if run.ranks.any(path is not None and state is None)[0]:
            raise TailproofError(
                f"{path} cannot be read by every process: put .state on a disk that all nodes share"
            )
        return state, origin

    def _newest_of_run(self, key: str) -> tuple[Path, dict[str, Any]]:
        newest = read_newest(self._states / key)
        if newest is None:
            keys = sorted(path.name for path in self._states.iterdir() if newest_first(path))
            raise TailproofError(
                f"recipe.resume_from is '{key}', but {self._states / key} has no intact state, "
                f"expected one of: {', '.join(keys) or 'none, because no run has a state'}"
            )
        return newest

    def _save(self) -> None:
        run = self._run
        if self._saved == (run.epoch, run.step):
            return
        run.check_finite()
        state: dict[str, Any] = {
            "run": run.state(),
            "seconds": self.seconds,
            "origin": self.origin,
        }
        if self._store and self.attempts:
            state["attempt"] = len(self.attempts.entries)
            if self._store.save(state, run.epoch, run.step):
                self.attempts.seen(self._epoch_trained)
        self._saved_at, self._saved = time.monotonic(), (run.epoch, run.step)

    def _leave(self) -> None:
        self._save()
        run, name = self._run, self._stop.signal or "a signal to another process"
        self.end(name)
        run.ranks.any(False)  # wait for rank 0: any exit ends it
        raise Interrupted(
            f"{Interrupted.START} {name} in epoch {run.epoch}, step {run.step}: run again to "
            f"resume from the last state in {self._states / self.key}"
        )


def _position(state: dict[str, Any]) -> dict[str, int]:
    return {name: state["run"][name] for name in ("epoch", "step")}
