"""Signals that ask a process to leave; a stage takes them before it imports anything large.

From `take_signals` on, the first signal is noted and the second one ends the process. What the
first one does besides depends on the block that it arrives in: in `StopRequest.leave_at_once` it
raises `Interrupted`, in `StopRequest.save_first` it waits for a check. So importing, hashing and
waiting end at once, and training ends where its state is saved.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tailproof.runtime.errors import Interrupted
from tailproof.runtime.process import STOP_SIGNALS


class StopRequest:
    """Whether a signal has asked this process to leave.

    Attributes:
        signal: the name of that signal, or None.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self._at_once = False

    def check(self) -> None:
        """Raise `Interrupted` when a signal has asked this process to leave."""
        if self.signal:
            raise Interrupted(f"asked to leave by {self.signal}: run the same command again")

    @contextmanager
    def leave_at_once(self) -> Iterator[None]:
        """Raise `Interrupted` as soon as a signal arrives in the block, or one has arrived."""
        with self._switched(True):
            yield

    @contextmanager
    def save_first(self) -> Iterator[None]:
        """Only note a signal that arrives in the block, which checks for it; check at its end."""
        with self._switched(False):
            yield

    def note(self, name: str) -> None:
        """Note a signal; leave at the first one where the block says so."""
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


REQUEST = StopRequest()  # a process has one, as it has one set of signal handlers


def take_signals(*, second_ends: bool = True) -> None:
    """Let SIGTERM, SIGUSR1 and SIGINT make a request, from now on, in place of ending the process.

    Args:
        second_ends: whether the second signal ends the process. Not so where a launcher passes on
            what every process has received already; it has its own way to end them.
    """

    def note(number: int, _frame: object) -> None:
        if second_ends:
            for asking in STOP_SIGNALS:
                signal.signal(asking, signal.SIG_DFL)
        REQUEST.note(signal.Signals(number).name)

    for asking in STOP_SIGNALS:
        signal.signal(asking, note)
