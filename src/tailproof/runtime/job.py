"""The wrapper of every workflow script: signal handling, log, clear errors, record.

A script imports nothing else of the package before the block. It imports what it needs inside the
block, where signals are handled and failures are logged.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailproof.runtime.file_name_encoding import require_utf8
from tailproof.runtime.job_logging import job_logging
from tailproof.runtime.process import limit_spinning
from tailproof.runtime.requeue import requeue_if_interrupted
from tailproof.runtime.signals import REQUEST, take_signals

if TYPE_CHECKING:
    from tailproof.runtime.recorder import Recorder


@contextmanager
def job(snakemake: Any, raw: tuple[str, ...] = ()) -> Iterator["Recorder"]:
    """Run a script's body, then write its record, once all its outputs exist.

    Yields the recorder. The script fills its `results`, and can use its `digests` so as not to
    hash an input again.

    A stop signal ends the body at once, or, in training, as soon as the state is saved. A signal
    that arrives while the record is being written changes nothing: the job is done.

    Args:
        snakemake: the object that Snakemake passes to a script.
        raw: names of inputs that are raw data; an output lists their checksums.

    Raises:
        SystemExit: a `TailproofError` was raised, by the body or by the checks of
            `tailproof.runtime.recorder.Recorder`; see `tailproof.runtime.job_logging`.
    """
    take_signals()
    limit_spinning()
    # Not snakemake.rule: a workflow that includes this one as a module adds a prefix to it.
    stage = Path(snakemake.output.record).parent.name
    with job_logging(stage, snakemake.log[0]), requeue_if_interrupted():
        with REQUEST.leave_at_once():
            from tailproof.extensions import import_extensions
            from tailproof.runtime.recorder import Recorder

            require_utf8()
            import_extensions()
            recorder = Recorder(snakemake, stage, raw)
            recorder.refuse_undeclared_reads()
            yield recorder
            record = recorder.record()
        record.write(snakemake.output.record)
