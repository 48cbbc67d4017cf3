"""One node's share of a run: torchrun's agent and the processes that it starts.

On several nodes each starts it by ``python -m tailproof.training.node JOB.json``.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tailproof.core.errors import Interrupted, TailproofError
from tailproof.core.files import read_json

SHUTDOWN_SECONDS = 25  # that the other processes have to leave once one has died
PORT = 29400  # torchrun's own default for rendezvous between nodes
LEAVING = "asked to leave by {}: run again, and it goes on from its last state"


def run_node(job: dict[str, Any], path: Path) -> None:
    """Run this node's processes until all end, or one fails and the others are stopped."""
    recipe = job["train"]["recipe"]
    alone = recipe["nodes"] == 1
    config = LaunchConfig(
        min_nodes=recipe["nodes"],
        max_nodes=recipe["nodes"],
        nproc_per_node=recipe["devices"],
        run_id=Path(job["scratch"]).name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0" if alone else f"{job['host']}:{PORT}",
        local_addr="localhost" if alone else None,
        max_restarts=0,
        signals_to_handle="SIGTERM,SIGINT,SIGUSR1",
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # told below, once
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no advice on the reducer's options
    try:
        elastic_launch(config, sys.executable)("-m", "tailproof.training.worker", str(path))
    except SignalException as error:
        raise Interrupted(LEAVING.format(error.sigval.name)) from error
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == Interrupted.status:
            raise Interrupted(LEAVING.format("a signal")) from error
        # What a process recorded is a mapping, what torchrun says of one that was killed a text.
        said = failure.message
        said = said["message"].removeprefix("TailproofError: ") if isinstance(said, dict) else said
        raise TailproofError(
            f"rank {rank} of the run failed first: {said} (its log: "
            f"{rank_log(Path(job['log']), rank)})"
        ) from error


def rank_log(path: Path, rank: int) -> Path:
    """Return where a process rank logs."""
    return path if rank == 0 else path.with_name(f"{path.stem}.rank-{rank}{path.suffix}")


def _main(path: Path) -> None:
    """Run this node's share, and leave word for the others of what failed here."""
    try:
        run_node(read_json(path), path)
    except TailproofError as error:
        if not isinstance(error, Interrupted):
            node = os.environ.get("SLURM_NODEID", "0")
            path.with_name(f"failed-{node}").write_text(str(error), encoding="utf-8")
        sys.exit(error.status)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
