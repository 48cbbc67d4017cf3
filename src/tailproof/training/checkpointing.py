"""When a run's state is saved, and what happens then."""

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

CHEAP_SECONDS = 10.0  # of training: sooner done again than saved, at the end of a short epoch


class Checkpointer:
    """Saves and restores a run: every so often, at the ends of epochs, and when asked to leave.

    Rank 0 reads the clock and writes; all ranks save at the same batch.

    Args:
        states: folder of the states of all runs.
        key: of this run among them.
        run: what is kept.
        stop: whether a signal asked this process to leave.

    Attributes:
        seconds: that each finished epoch took in the attempt that finished it.
        origin: of a run that `resume_from` continues: the key, epoch and step of that state.
        attempts: one entry a process life.
    """

    def __init__(self, states: Path, key: str, run: TrainingRun, stop: StopRequest) -> None:
        self.key, self.seconds, self.origin = key, [], None
        self._states, self._run, self._stop = states, run, stop
        self._store = CheckpointStore(states / key) if run.ranks.main else None
        self.attempts = Attempts(states / key) if run.ranks.main else None
        self._saved_at, self._saved = time.monotonic(), None

    def restore(self) -> None:
        """Bring the run to where its newest whole state is, if there is one; begin an attempt.

        Raises:
            TailproofError: `resume_from` names a state that is not there or does not fit.
        """
        run = self._run
        state, origin = self._find()
        if state is None:
            run.begin()
            log.info("run %s: no state yet, starts at epoch 1", self.key)
        else:
            run.restore(state["run"], adopted=origin is not None)
            self.seconds, self.origin = state["seconds"], origin or state["origin"]
            self._saved = (run.epoch, run.step)
            log.info("run %s: goes on in epoch %d after step %d", self.key, run.epoch, run.step)
        if self.attempts:
            self.attempts.begin(self._epoch_now, str(run.device), run.ranks.world)

    def at_boundary(self) -> None:
        """Save the state where that is due, after a batch.

        Raises:
            Interrupted: a signal asked this rank or another to leave.
        """
        every, run = self._run.recipe.checkpoint, self._run
        if every.steps is not None:
            due = run.step % every.steps == 0
        else:
            due = run.ranks.main and time.monotonic() - self._saved_at >= 60 * every.minutes
        asked, due = run.ranks.any(self._stop.signal is not None, due)
        if asked:
            self._leave()
        if due:
            self._save()

    def at_epoch_end(self, seconds: float) -> None:
        """Save the state after an epoch, unless short epochs follow one another in time."""
        run = self._run
        self.seconds.append(round(seconds, 3))
        late = time.monotonic() - self._saved_at >= CHEAP_SECONDS
        always = run.recipe.checkpoint.steps is not None or run.finished
        (due,) = run.ranks.any(late or always)
        if due:
            self._save()

    def end(self, reason: str) -> None:
        """Note why the attempt ends."""
        if self.attempts:
            self.attempts.end(self._epoch_trained, reason)

    def forget(self) -> None:
        """Keep only the newest state: the run is done."""
        self._store.forget(1)

    @property
    def _epoch_now(self) -> int:
        """The epoch in progress, or the last of a finished run."""
        return self._run.epoch - 1 if self._run.finished else self._run.epoch

    @property
    def _epoch_trained(self) -> int:
        """The last epoch in which an update was made."""
        return self._run.epoch if self._run.step else max(self._run.epoch - 1, 1)

    def _find(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return the state to go on from, and where it is from if it is another run's."""
        run, origin = self._run, None
        found = self._store.newest() if self._store else None
        if self._store and found is None and run.recipe.resume_from is not None:
            found = self._of_another(run.recipe.resume_from)
            origin = {"key": run.recipe.resume_from, **_position(found[1])}
        path, state = found or (None, None)
        path, origin = run.ranks.broadcast([path, origin])
        if path and not run.ranks.main:
            state = read_state(path)
        if run.ranks.any(path is not None and state is None)[0]:
            raise TailproofError(f"{path} cannot be read by every process: is it on a shared disk?")
        return state, origin

    def _of_another(self, key: str) -> tuple[Path, dict[str, Any]]:
        found = read_newest(self._states / key)
        if found is None:
            known = sorted(path.name for path in self._states.iterdir() if newest_first(path))
            raise TailproofError(
                f"recipe.resume_from is '{key}': no whole state in {self._states / key}; "
                f"there are: {', '.join(known) or 'none'}"
            )
        return found

    def _save(self) -> None:
        run = self._run
        if self._saved == (run.epoch, run.step):
            return
        run.check_finite()
        state = {"run": run.state(), "seconds": self.seconds, "origin": self.origin}
        if self._store:
            state["attempt"] = len(self.attempts.entries)
            if self._store.save(state, run.epoch, run.step):
                self.attempts.seen(self._epoch_trained)
        self._saved_at, self._saved = time.monotonic(), (run.epoch, run.step)

    def _leave(self) -> None:
        self._save()
        run, name = self._run, self._stop.signal or "a signal to another process"
        self.end(name)
        run.ranks.any(False)  # none leaves before rank 0 has written: the launcher would end it
        raise Interrupted(
            f"asked to leave by {name} in epoch {run.epoch}, step {run.step}: run again, and it "
            f"goes on from its last state in {self._states / self.key}"
        )


def _position(state: dict[str, Any]) -> dict[str, int]:
    return {name: state["run"][name] for name in ("epoch", "step")}
