"""Signals that ask a run to leave: they set a flag, what saves state looks at it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tailproof.runtime.process import STOP_SIGNALS


class StopRequest:
    """Attributes: signal: the name of the signal that came, or None."""

    def __init__(self) -> None:
        self.signal: str | None = None


@contextmanager
def stop_on_signals(*, second_ends: bool = True) -> Iterator[StopRequest]:
    """Catch SIGTERM, SIGUSR1 and SIGINT while the block runs.

    Args:
        second_ends: whether the second signal ends the process. Not so where a launcher passes on
            what came to every process already; it has its own way to end them.
    """
    request = StopRequest()

    def note(number: int, _frame: object) -> None:
        request.signal = signal.Signals(number).name
        if second_ends:
            for asking in STOP_SIGNALS:
                signal.signal(asking, signal.SIG_DFL)

    before = {asking: signal.signal(asking, note) for asking in STOP_SIGNALS}
    try:
        yield request
    finally:
        for asking, handler in before.items():
            signal.signal(asking, handler)
