"""What a process asks of the operating system and of Python."""

import ctypes
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # that ask a process to leave
PR_SET_PDEATHSIG = 1  # linux/prctl.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def die_with_parent() -> None:
    """Have this process killed when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def tune_malloc() -> None:
    """Have malloc keep what is freed for what is allocated next.

    Every activation of a network is freed and allocated again at each step. By default glibc gives
    large blocks back to the system and receives them anew, emptied page by page. What a process
    holds at most may grow by a quarter (see mallopt(3)).
    """
    malloc = ctypes.CDLL(None)
    malloc.mallopt(M_MMAP_MAX, 0)
    malloc.mallopt(M_TRIM_THRESHOLD, -1)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Import large packages without looking for garbage among what they make.

    It stays until the process ends; looked through again and again, and once more at the end, it
    takes a third of a short process's time (gc.freeze in Python's documentation).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
