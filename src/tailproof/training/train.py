"""Trains one expert with one seed, over any number of interrupted attempts."""

import logging
import time
from pathlib import Path
from typing import Any

from tailproof.files import write_json
from tailproof.history import write_history
from tailproof.models.build import count_parameters
from tailproof.runtime.errors import Interrupted
from tailproof.runtime.progress import track
from tailproof.runtime.signals import StopRequest
from tailproof.training.checkpointing import Checkpointer
from tailproof.training.run import TrainingRun

log = logging.getLogger(__name__)


def train(
    run: TrainingRun, folder: str | Path, states: str | Path, key: str, stop: StopRequest
) -> None:
    """Train one expert and write model.safetensors, config.json, history.csv, training.json.

    A killed run resumes from its last state. With several processes, each calls this function.
    A round of a sweep that trains only until some epoch writes rung.csv instead: the history up
    to that epoch, exactly the same bytes even if the run has continued since.

    Args:
        run: the run, not begun yet.
        folder: folder to write to.
        states: folder of the states of all runs.
        key: key of this run, the name of its folder in `states`.
        stop: whether a signal asked this process to stop.

    Raises:
        Interrupted: a signal asked the run to stop; its state is saved.
        TailproofError: the loss is not finite, or data and recipe do not fit together.
    """
    folder = Path(folder)
    keeper = Checkpointer(Path(states), key, run, stop)
    try:
        keeper.restore()
        _epochs(run, keeper, f"train {folder.parent.name} {run.seed}")
        if run.ranks.main and run.partial:
            write_history(folder / "rung.csv", run.history[: run.until])
            keeper.end(f"trained until epoch {run.until}")
            keeper.forget()
        elif run.ranks.main:
            run.export(folder)
            write_history(folder / "history.csv", run.history)
            keeper.end("finished")
            write_json(folder / "training.json", _facts(run, keeper))
            keeper.forget()
    except Interrupted:
        raise
    except Exception as error:
        keeper.end(f"failed: {type(error).__name__}")  # results hold no error text
        raise
    finally:
        run.close()
    run.ranks.shutdown()


def _epochs(run: TrainingRun, keeper: Checkpointer, description: str) -> None:
    epochs = range(run.epoch, run.until + 1)
    for _ in track(epochs, description, total=run.until, done=min(run.epoch - 1, run.until)):
        if run.finished:
            epoch = run.best.epoch
            found = "was never a finite number" if epoch is None else f"in epoch {epoch}"
            log.info("early stopping: best %s %s", run.recipe.monitor, found)
            return
        clock = time.monotonic()
        row = run.finish_epoch(keeper.at_boundary)
        keeper.at_epoch_end(time.monotonic() - clock)
        log.info("%s", " ".join(f"{name} {value:.5g}" for name, value in row.items()))


def _facts(run: TrainingRun, keeper: Checkpointer) -> dict[str, Any]:
    return {
        "best": {
            "epoch": run.best.epoch,
            "monitor": run.recipe.monitor,
            "value": run.best.value,
        },
        "epochs": len(run.history),
        "stopped_early": len(run.history) < run.recipe.epochs,
        "parameters": count_parameters(run.model),
        "trained_parameters": count_parameters(run.model, trained=True),
        "initial_weights": run.initial,
        **({"phases": run.phases.as_dicts()} if run.recipe.phases else {}),
        "precision": run.precision,
        "threads": run.recipe.threads,
        "seconds_an_epoch": keeper.seconds,
        "state": keeper.key,
        "resumed_from": keeper.origin,
        "attempts": keeper.attempts.entries if keeper.attempts else [],
    }
