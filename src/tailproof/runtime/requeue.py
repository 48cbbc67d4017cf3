"""A job that is asked to leave goes back into Slurm's queue.

Slurm signals a job some time before its limit, or before its nodes go to others. A job that then
leaves counts as failed, and Snakemake would have to submit it again. A requeued job starts again
under its own number, and Snakemake keeps waiting for it.
"""

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tailproof.runtime.errors import Interrupted

log = logging.getLogger(__name__)

SECONDS = 60  # that Slurm's controller may take to answer


@contextmanager
def requeue_if_interrupted() -> Iterator[None]:
    """Requeue the Slurm job that this process is in when the block was asked to leave.

    Only a job that Snakemake submitted, which its comment says, and only while Slurm lets it run:
    one that is being cancelled, that is over its time, or that is requeued already, is left alone.
    """
    try:
        yield
    except Interrupted:
        job = os.environ.get("SLURM_JOB_ID")
        state = _slurm("squeue", "--noheader", f"--jobs={job}", "--format=%T %k") if job else None
        if state and state.startswith("RUNNING rule_") and _slurm("scontrol", "requeue", job) == "":
            log.info("Slurm job %s is back in the queue", job)
        raise


def _slurm(*command: str) -> str | None:
    """Return what one of Slurm's commands prints; None, and a warning, where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        log.warning("%s failed: %s", " ".join(command), error.stderr.strip())
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("%s", error)
    else:
        return done.stdout.strip()
    return None
