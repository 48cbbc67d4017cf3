"""Distinguishes a lack of resources, of the machine or the process, from faults of a file.

A reader that runs out of memory, processes or open files fails in the same way as on a damaged
file. Advice to delete the file would then cost an intact one.
"""

import errno
import re

_MEMORY = (
    "memory is short: give the job more (`ulimit -v`, `--mem` of Slurm), or, in training, lower "
    "recipe.batch_size or raise recipe.grad_accum_steps"
)
_PROCESSES = (
    "no more processes or threads can be started: raise `ulimit -u` and `ulimit -v`, or the "
    "limits of the container"
)
_WORKERS = (
    "a loader worker was killed, usually because memory is short: give the job more memory, "
    "enlarge /dev/shm (`docker run --shm-size=2g`), or lower recipe.workers, which gives exactly "
    "the same bytes"
)
_SPACE = "no space is left on a disk: free some space"

ADVICE = {
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _PROCESSES,
    errno.EMFILE: "too many files are open: raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine: end other programs",
    errno.EFBIG: "the file exceeds the largest size that the process may write: raise `ulimit -f`",
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: "the quota of the disk is used up: free some space",
    errno.EIO: "the disk or the network storage reports an error: check it",
    errno.ESTALE: "the network storage was mounted again: run again",
}
"""What is lacking, and what to do, by error number."""

_TEXTS = {
    re.compile(r"DataLoader worker .*(killed by signal|exited unexpectedly)"): _WORKERS,
    re.compile(r"fail(ed|ure) to (launch|start) .*thread|can't start new thread", re.I): _PROCESSES,
    re.compile(
        r"out of memory|(can't|cannot|could not|failed to|unable to) (allocate|map)|bad_alloc"
        r"|malloc of size .* failed|realloc of size .* failed|insufficient memory",
        re.I,
    ): _MEMORY,
}
"""The same by the texts of libraries in compiled code, whose errors have no number."""


def lacking(error: BaseException) -> str | None:
    """Return what the machine or a limit lacks, and what to do, if that is why something failed.

    Args:
        error: any exception.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return ADVICE.get(error.errno)
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, ValueError | TypeError | LookupError):
        return None
    return next((advice for text, advice in _TEXTS.items() if text.search(str(error))), None)
