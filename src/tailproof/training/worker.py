"""One of the processes that train an expert together: ``python -m tailproof.training.worker``.

It installs its signal handlers before it imports torch.
"""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from tailproof.runtime.errors import Interrupted, TailproofError
from tailproof.runtime.job_logging import logging_to
from tailproof.runtime.process import die_with_parent
from tailproof.runtime.signals import REQUEST, take_signals
from tailproof.training.torchrun import SHUTDOWN_SECONDS, rank_log, tell_failure


def main(path: Path) -> None:
    """Train as one process rank; log errors and report them to the launcher."""
    die_with_parent()
    take_signals(second_ends=False)
    job, rank = json.loads(path.read_bytes()), int(os.environ["RANK"])
    arguments = job["train"]
    if job.get("reads"):
        from tailproof.runtime.undeclared_reads import DeclaredReads, refuse_undeclared_reads

        refuse_undeclared_reads(DeclaredReads(**job["reads"]))
    with logging_to(rank_log(Path(job["log"]), rank)) as logger:
        try:
            with REQUEST.leave_at_once():
                from tailproof.config.recipe import Recipe
                from tailproof.extensions import import_extensions
                from tailproof.training.distributed import ProcessGroup
                from tailproof.training.network_on_images import NetworkOnImages
                from tailproof.training.run import TrainingRun
                from tailproof.training.train import train

                import_extensions()
                recipe = Recipe(**arguments["recipe"])
                ranks = ProcessGroup(recipe.devices * recipe.nodes)
                learner = NetworkOnImages(arguments["manifest"], recipe)
                with REQUEST.save_first():
                    until, teacher = arguments["until"], arguments["teacher"]
                    run = TrainingRun(learner, arguments["seed"], ranks, until, teacher)
                    folder, states, key = (arguments[name] for name in ("folder", "states", "key"))
                    train(run, folder, states, key, REQUEST)
        except Interrupted as error:
            logger.warning("%s", error)
            sys.exit(error.status)
        except TailproofError as error:
            logger.error("%s", error)
            tell_failure(job, rank, str(error))
            sys.exit(error.status)
        except Exception as error:
            logger.exception("%s", error)
            # Most likely another rank has died. The launcher reports that one and stops this one.
            with suppress(Interrupted), REQUEST.leave_at_once():
                time.sleep(SHUTDOWN_SECONDS / 5)
                tell_failure(job, rank, f"{type(error).__name__}: {error}")
            sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
