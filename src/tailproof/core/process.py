"""What a process asks of the operating system."""

import ctypes
import signal

ASKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # that ask a process to leave
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Have this process killed when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
