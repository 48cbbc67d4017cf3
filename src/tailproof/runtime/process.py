"""Settings of this process: parent-death signal, malloc, garbage collector."""

import ctypes
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # ask a process to stop
PR_SET_PDEATHSIG = 1  # linux/prctl.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends for any reason."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def tune_malloc() -> None:
    """Have malloc keep freed memory for later allocations.

    Every activation of a network is freed and allocated again at each step. By default glibc
    returns large blocks to the system and gets them back zeroed, page by page. Peak memory may
    grow by a quarter (see mallopt(3)).
    """
    malloc = ctypes.CDLL(None)
    malloc.mallopt(M_MMAP_MAX, 0)
    malloc.mallopt(M_TRIM_THRESHOLD, -1)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Disable the garbage collector while large packages are imported.

    Their objects live until the process ends. Scanning them repeatedly, and once more at exit,
    takes a third of a short process's time (see gc.freeze in Python's documentation).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
