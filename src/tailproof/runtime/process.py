"""Settings of this process: parent-death signal, waiting threads, malloc, garbage collector.

Also what another process does, without disturbing it.
"""

import ctypes
import fcntl
import gc
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tailproof.runtime.errors import TailproofError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # ask a process to stop
PR_SET_PDEATHSIG = 1  # linux/prctl.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends for any reason."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def limit_spinning() -> None:
    """Have OpenMP's threads sleep soon while they wait for each other; call it before torch loads.

    By default they spin for milliseconds. Next to a busy neighbour, they then spin away the time
    that the thread they wait for needs: training is up to fifteen times slower (docs/long-runs.md).
    The variable is libgomp's; settings of the user have priority.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def require_folder() -> None:
    """Check that the current folder exists; libraries end the process or fail anywhere if not.

    Raises:
        TailproofError: it was deleted.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise TailproofError(
            "the current folder was deleted: change to another one with cd"
        ) from None


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


def is_running(process: int, start: datetime) -> bool:
    """Return whether a process of this machine runs that existed at a time.

    Args:
        process: its id, which another process may have by now.
        start: the time, with its offset from UTC, to the second.
    """
    import psutil

    try:
        known = psutil.Process(process)
        begun = known.create_time() < start.timestamp() + 1
        return begun and known.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_locked(path: Path) -> bool:
    """Return whether another process holds the lock of a file, without taking it.

    False also means that the file does not exist, or that its disk knows no locks.
    """
    asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # struct flock of Linux
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        answer = fcntl.fcntl(handle, fcntl.F_GETLK, asked)
    except OSError:
        return False
    finally:
        os.close(handle)
    return struct.unpack("hhqqi", answer)[0] != fcntl.F_UNLCK
