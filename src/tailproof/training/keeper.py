"""When a run's state is saved, and what happens then."""

import logging
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tailproof.core.errors import Interrupted, TailproofError
from tailproof.training.attempts import Attempts
from tailproof.training.run import Run
from tailproof.training.signals import StopRequest
from tailproof.training.state import Store, newest_first, read_newest, read_state

log = logging.getLogger(__name__)

CHEAP_SECONDS = 10.0  # of training: sooner done again than saved, at the end of a short epoch


class Keeper:
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

    def __init__(self, states: Path, key: str, run: Run, stop: StopRequest) -> None:
        self.key, self.seconds, self.origin = key, [], None
        self._states, self._run, self._stop = states, run, stop
        self._store = Store(states / key) if run.ranks.main else None
        run.ranks.any(False)  # the others go on once rank 0 holds the lock
        self.attempts = Attempts(states / key) if run.ranks.main else None
        self._saved_at, self._saved = time.monotonic(), None

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._store:
            self._store.close()

    def restore(self) -> None:
        """Bring the run to where its newest whole state is, if there is one; begin an attempt.

        Raises:
            TailproofError: `resume_from` names a state that is not there or does not fit.
        """
        run, found = self._run, self._find()
        if found is None:
            log.info("run %s: no state yet, starts at epoch 1", self.key)
        else:
            run.restore(found["run"])
            self.seconds, self.origin = found["seconds"], found["origin"]
            self._saved = (run.epoch, run.step)
            log.info("run %s: goes on in epoch %d after step %d", self.key, run.epoch, run.step)
        if self.attempts:
            epoch = min(run.epoch, run.recipe.epochs)
            self.attempts.begin(epoch, str(run.device), run.ranks.world)

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
            self.attempts.end(self._epoch, reason)

    def forget(self) -> None:
        """Keep only the newest state: the run is done."""
        self._store.forget(1)

    @property
    def _epoch(self) -> int:
        """The last epoch that this attempt has trained in."""
        return self._run.epoch if self._run.step else max(self._run.epoch - 1, 1)

    def _find(self) -> dict[str, Any] | None:
        run = self._run
        found = read_newest(self._states / self.key) if run.ranks.main else None
        source = run.recipe.resume_from
        origin = None
        if run.ranks.main and found is None and source is not None:
            found = read_newest(self._states / source)
            if found is None:
                known = sorted(path.name for path in self._states.iterdir() if newest_first(path))
                raise TailproofError(
                    f"recipe.resume_from is '{source}': no whole state in {self._states / source}; "
                    f"there are: {', '.join(known) or 'none'}"
                )
            state = found[1]["run"]
            origin = {"key": source, "epoch": state["epoch"], "step": state["step"]}
        if run.ranks.world == 1:
            state = found and found[1]
        else:
            path = run.ranks.told(str(found[0]) if found else None)
            state = read_state(Path(path)) if path else None
        return {**state, "origin": origin or state["origin"]} if state else None

    def _save(self) -> None:
        run = self._run
        if self._saved == (run.epoch, run.step):
            return
        run.check_finite()
        state = {"run": run.state(), "seconds": self.seconds, "origin": self.origin}
        if self._store:
            state["attempt"] = len(self.attempts.entries)
            if self._store.save(state, run.epoch, run.step):
                self.attempts.seen(self._epoch)
        self._saved_at, self._saved = time.monotonic(), (run.epoch, run.step)

    def _leave(self) -> None:
        self._save()
        run, name = self._run, self._stop.signal or "a signal to another process"
        self.end(name)
        raise Interrupted(
            f"asked to leave by {name} in epoch {run.epoch}, step {run.step}: run again, and it "
            f"goes on from its last state in {self._states / self.key}"
        )
