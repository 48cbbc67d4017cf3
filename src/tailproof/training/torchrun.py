"""Runs the processes of one node through torchrun's agent.

With several nodes, srun starts ``python -m tailproof.training.torchrun JOB.json`` on each. It
installs its signal handlers before it imports torch.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.process import STOP_SIGNALS
from tailproof.runtime.signals import REQUEST, take_signals

SHUTDOWN_SECONDS = 25  # time for the other processes to exit once one has died
FAILED = "failed"  # file next to the job file with the error of the process that failed first
LEAVING = f"{Interrupted.START} {{}}: run again to resume from the last state"


def run_node(job: dict[str, Any], path: Path) -> None:
    """Run this node's processes until all end, or until one fails and the others are stopped.

    Raises:
        Interrupted: a signal asked the run to stop.
        TailproofError: a process failed.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    recipe = job["train"]["recipe"]
    alone = recipe["nodes"] == 1
    config = LaunchConfig(
        min_nodes=recipe["nodes"],
        max_nodes=recipe["nodes"],
        nproc_per_node=recipe["devices"],
        run_id=Path(job["scratch"]).name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0" if alone else job["meeting"],
        local_addr="localhost" if alone else None,
        max_restarts=0,
        signals_to_handle=",".join(stop_signal.name for stop_signal in STOP_SIGNALS),
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    logging.getLogger("torch.distributed.elastic").setLevel(
        logging.CRITICAL
    )  # reported once, below
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no hints about options of the reducer
    try:
        with _handlers_kept():  # the agent sets its own
            elastic_launch(config, sys.executable)("-m", "tailproof.training.worker", str(path))
    except SignalException as error:
        raise Interrupted(LEAVING.format(error.sigval.name)) from error
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == Interrupted.status:
            raise Interrupted(LEAVING.format("a signal")) from error
        killed = failure.exitcode < 0
        cause = failure.message if killed else f"it ended with status {failure.exitcode}"
        first_failure = tell_failure(job, rank, cause)
        raise TailproofError(first_failure) from error


def tell_failure(job: dict[str, Any], rank: int, cause: str) -> str:
    """Record a failure, unless another process has failed before; return the first failure."""
    path = Path(job["scratch"], FAILED)
    text = f"process rank {rank} failed first: {cause} (see its log, "
    text += f"{rank_log(Path(job['log']), rank)})"
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path.read_text(encoding="utf-8")


def rank_log(path: Path, rank: int) -> Path:
    """Return the log file of a process rank."""
    return path if rank == 0 else path.with_name(f"{path.stem}.rank-{rank}{path.suffix}")


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Restore the signal handlers that the block changes."""
    before = {stop_signal: signal.getsignal(stop_signal) for stop_signal in STOP_SIGNALS}
    try:
        yield
    finally:
        for stop_signal, handler in before.items():
            signal.signal(stop_signal, handler)


def _main(path: Path) -> None:
    take_signals(second_ends=False)
    try:
        with REQUEST.leave_at_once():
            run_node(json.loads(path.read_bytes()), path)
    except TailproofError as error:
        sys.exit(error.status)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
