"""Puts an interrupted job back into Slurm's queue.

Slurm signals a job some time before its time limit or before it is preempted. A job that then
exits counts as failed, and Snakemake would have to submit it again. A requeued job starts again
under the same job ID, and Snakemake keeps waiting for it.
"""

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tailproof.runtime.errors import Interrupted

log = logging.getLogger(__name__)

SECONDS = 60  # timeout for an answer of Slurm's controller


@contextmanager
def requeue_if_interrupted() -> Iterator[None]:
    """Requeue the Slurm job of this process if a signal interrupts the block.

    Only a job that Snakemake submitted (its comment says so) is requeued, and only while it is in
    the state RUNNING. A job that is being cancelled, is over its time limit, or is already
    requeued, is left alone.
    """
    try:
        yield
    except Interrupted:
        job = os.environ.get("SLURM_JOB_ID")
        state = _slurm("squeue", "--noheader", f"--jobs={job}", "--format=%T %k") if job else None
        if (
            job
            and state
            and state.startswith("RUNNING rule_")
            and _slurm("scontrol", "requeue", job) == ""
        ):
            log.info("Slurm job %s was requeued", job)
        raise


def _slurm(*command: str) -> str | None:
    """Return the output of a Slurm command; log a warning and return None if it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        log.warning("%s failed: %s", " ".join(command), error.stderr.strip())
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("%s", error)
    else:
        return done.stdout.strip()
    return None
