"""One of the processes that train an expert together: ``python -m tailproof.training.worker``."""

import os
import sys
import time
from pathlib import Path

from tailproof.config.recipe import Recipe
from tailproof.files import read_json
from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.job_logging import logging_to
from tailproof.runtime.process import die_with_parent
from tailproof.training.node import SHUTDOWN_SECONDS, rank_log, tell_failure
from tailproof.training.signals import stop_on_signals
from tailproof.training.train import train


def main(path: Path) -> None:
    """Train as one rank; what goes wrong is logged, and told to the launcher."""
    die_with_parent()
    job, rank = read_json(path), int(os.environ["RANK"])
    arguments = job["train"]
    recipe = Recipe(**arguments.pop("recipe"))
    with logging_to(rank_log(Path(job["log"]), rank), "a" if rank == 0 else "w") as logger:
        try:
            with stop_on_signals(second_ends=False) as stop:
                train(recipe=recipe, stop=stop, **arguments)
        except Interrupted as error:
            logger.warning("%s", error)
            sys.exit(error.status)
        except TailproofError as error:
            logger.error("%s", error)
            tell_failure(job, rank, str(error))
            sys.exit(error.status)
        except Exception as error:
            logger.exception("%s", error)
            # Most likely another rank is gone: let that one be told first, or what stops this one.
            if stop.signal is None:
                time.sleep(SHUTDOWN_SECONDS / 5)
                tell_failure(job, rank, f"{type(error).__name__}: {error}")
            sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
