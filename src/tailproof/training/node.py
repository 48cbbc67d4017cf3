"""One node's share of a run: torchrun's agent and the processes that it starts.

On several nodes each starts it by ``python -m tailproof.training.node JOB.json``, which takes its
signals before it imports torch.
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

SHUTDOWN_SECONDS = 25  # that the other processes have to leave once one has died
FAILED = "failed"  # file beside the job's own that says which process failed first, and of what
LEAVING = "asked to leave by {}: run again, and it goes on from its last state"


def run_node(job: dict[str, Any], path: Path) -> None:
    """Run this node's processes until all end, or one fails and the others are stopped."""
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
        signals_to_handle=",".join(asking.name for asking in STOP_SIGNALS),
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # told below, once
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no advice on the reducer's options
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
        said = failure.message if killed else f"it ended with status {failure.exitcode}"
        failed_first = tell_failure(job, rank, said)
        raise TailproofError(failed_first) from error


def tell_failure(job: dict[str, Any], rank: int, said: str) -> str:
    """Leave word of what failed, unless another process has; return the first one's word."""
    path = Path(job["scratch"], FAILED)
    word = f"rank {rank} of the run failed first: {said} (its log: "
    word += f"{rank_log(Path(job['log']), rank)})"
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(word)
    return path.read_text(encoding="utf-8")


def rank_log(path: Path, rank: int) -> Path:
    """Return where a process rank logs."""
    return path if rank == 0 else path.with_name(f"{path.stem}.rank-{rank}{path.suffix}")


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Set the handlers of signals back that the block changes."""
    before = {asking: signal.getsignal(asking) for asking in STOP_SIGNALS}
    try:
        yield
    finally:
        for asking, handler in before.items():
            signal.signal(asking, handler)


def _main(path: Path) -> None:
    take_signals(second_ends=False)
    try:
        with REQUEST.leave_at_once():
            run_node(json.loads(path.read_bytes()), path)
    except TailproofError as error:
        sys.exit(error.status)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
