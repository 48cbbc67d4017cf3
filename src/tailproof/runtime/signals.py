"""Handles signals that ask a process to stop.

A stage calls `take_signals` before it imports anything large. From then on, the first signal is
noted and the second one ends the process. The effect of the first signal depends on the block in
which it arrives: in `StopRequest.leave_at_once` it raises `Interrupted`, in
`StopRequest.save_first` it waits for a check. So importing, hashing and waiting stop at once, and
training stops where its state is saved.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tailproof.runtime.errors import Interrupted
from tailproof.runtime.process import STOP_SIGNALS


class StopRequest:
    """Whether a signal has asked this process to stop.

    Attributes:
        signal: name of that signal, or None.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self._at_once = False

    def check(self) -> None:
        """Raise `Interrupted` if a signal has asked this process to stop."""
        if self.signal:
            raise Interrupted(f"{Interrupted.START} {self.signal}: run the same command again")

    @contextmanager
    def leave_at_once(self) -> Iterator[None]:
        """Raise `Interrupted` as soon as a signal arrives, or at once if one already has."""
        with self._switched(True):
            yield

    @contextmanager
    def save_first(self) -> Iterator[None]:
        """Only note a signal that arrives in the block; the block and its end check for it."""
        with self._switched(False):
            yield

    def note(self, name: str) -> None:
        """Note a signal; raise on the first one inside `leave_at_once`."""
        first, self.signal = self.signal is None, name
        if first and self._at_once:
            self.check()

    @contextmanager
    def _switched(self, at_once: bool) -> Iterator[None]:
        before = self._at_once
        try:
            self._at_once = at_once
            self.check()
            yield
        finally:
            self._at_once = before
        self.check()


REQUEST = StopRequest()  # one per process, like the signal handlers


def take_signals(*, second_ends: bool = True) -> None:
    """From now on, let SIGTERM, SIGUSR1 and SIGINT request a stop instead of ending the process.

    Args:
        second_ends: whether the second signal ends the process. False under a launcher that
            forwards signals which every process has already received; the launcher ends its
            processes itself.
    """

    def note(number: int, _frame: object) -> None:
        if second_ends:
            for stop in STOP_SIGNALS:
                signal.signal(stop, signal.SIG_DFL)
        REQUEST.note(signal.Signals(number).name)

    for stop in STOP_SIGNALS:
        signal.signal(stop, note)
