"""What every script of the workflow runs in: signals, a log, clear failures, a record.

A script imports nothing else of the package before the block: what it needs, it imports in the
block, where a signal is heard and a failure is logged.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailproof.runtime.job_logging import job_logging
from tailproof.runtime.requeue import requeue_if_interrupted
from tailproof.runtime.signals import REQUEST, take_signals

if TYPE_CHECKING:
    from tailproof.runtime.recorder import Recorder


@contextmanager
def job(snakemake: Any, raw: tuple[str, ...] = ()) -> Iterator["Recorder"]:
    """Run a script's body; write its record last, when all its outputs are there.

    Yields what the record is written from: its `results` are for the script to fill, its `digests`
    spare the script hashing an input again.

    A signal that asks the process to leave ends the body at once, or where training has saved its
    state. One that arrives when the record is being written changes nothing: the job is done.

    Args:
        snakemake: the object that Snakemake gives to a script.
        raw: names of inputs that are raw data and that an output lists with their checksums.

    Raises:
        SystemExit: with one sentence, see `tailproof.runtime.job_logging`, or what
            `tailproof.runtime.recorder.Recorder` finds wrong.
    """
    take_signals()
    # Not snakemake.rule: a workflow that includes this one as a module gives it a prefix.
    stage = Path(snakemake.output.record).parent.name
    with job_logging(stage, snakemake.log[0]), requeue_if_interrupted():
        with REQUEST.leave_at_once():
            from tailproof.runtime.recorder import Recorder

            recorder = Recorder(snakemake, stage, raw)
            yield recorder
            record = recorder.record()
        record.write(snakemake.output.record)
