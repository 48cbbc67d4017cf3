"""Progress: a bar on the terminal, a line every few seconds in the log."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
log = logging.getLogger(__name__)

LINE_SECONDS = 10.0


def track(
    items: Iterable[Item], description: str, total: int | None = None, done: int = 0
) -> Iterator[Item]:
    """Yield `items` and show progress; `done` of `total` were completed earlier.

    If several jobs share a terminal, only the one that holds the terminal's lock draws a bar.
    Every job logs a line every `LINE_SECONDS`.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else None
    start = last = time.monotonic()
    with _bar(description, total, done) as advance:
        for count, item in enumerate(items, start=done + 1):
            yield item
            advance()
            now = time.monotonic()
            if now - last >= LINE_SECONDS:
                last = now
                share = f" of {total}" if total else ""
                log.info("%s: %d%s after %.0f s", description, count, share, now - start)


@contextmanager
def _bar(description: str, total: int | None, done: int) -> Iterator:
    terminal = _hold_terminal()
    if terminal is None:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    try:
        with Progress(console=Console(file=sys.stderr), transient=True) as progress:
            task = progress.add_task(description, total=total, completed=done)
            yield lambda: progress.advance(task)
    finally:
        os.close(terminal)


def _hold_terminal() -> int | None:
    """Return a locked descriptor of stderr's terminal, or None without one or if it is held."""
    import fcntl

    if not sys.stderr.isatty():
        return None
    try:
        terminal = os.open(os.ttyname(sys.stderr.fileno()), os.O_WRONLY | os.O_NOCTTY)
    except OSError:
        return None
    try:
        fcntl.flock(terminal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(terminal)
        return None
    return terminal
