"""The stage train: one expert, one seed, from shards to weights, over any number of attempts."""

import logging
import time
from pathlib import Path
from typing import Any

from tailproof.core.config.recipe import Recipe
from tailproof.core.digests import sha256_file
from tailproof.core.errors import Interrupted
from tailproof.core.files import read_json, write_json
from tailproof.core.progress import track
from tailproof.data.verify import verify
from tailproof.models.build import count_parameters, weights_file
from tailproof.training.history import write_history
from tailproof.training.keeper import Keeper
from tailproof.training.ranks import Ranks
from tailproof.training.run import Run
from tailproof.training.signals import stop_on_signals
from tailproof.training.state import state_key

log = logging.getLogger(__name__)


def train(
    manifest: str | Path,
    recipe: Recipe,
    seed: int,
    folder: str | Path,
    states: str | Path,
    code: str = "",
) -> None:
    """Train one expert and write model.safetensors, config.json, history.csv, training.json.

    A run that was killed goes on from its last state, found by what the run is: its data, recipe,
    seed and code.

    Args:
        manifest: shards/manifest.json.
        recipe: how.
        seed: of initial weights, order and augmentation.
        folder: where the four files go.
        states: folder of the states of all runs.
        code: digest of the code that trains.

    Raises:
        Interrupted: a signal asked the run to leave; its state is saved.
        TailproofError: the loss is not finite, a shard is not that of the manifest, or data and
            recipe do not fit together.
    """
    folder = Path(folder)
    ranks = Ranks(recipe.devices * recipe.nodes)
    if ranks.main:
        verify(manifest, "train", "val")
    start = sha256_file(weights_file(recipe.init_from)) if recipe.init_from else None
    key = state_key(read_json(manifest), recipe, seed, code, start)
    run = Run(manifest, recipe, seed, ranks)
    with stop_on_signals() as stop, Keeper(Path(states), key, run, stop) as keeper:
        keeper.restore()
        try:
            _epochs(run, keeper, f"train {folder.parent.name} {seed}")
        except Interrupted:
            raise
        except Exception as error:
            keeper.end(f"failed: {error}")
            raise
        finally:
            run.close()
        keeper.end("finished")
        if ranks.main:
            run.export(folder)
            write_history(folder / "history.csv", run.history)
            write_json(folder / "training.json", _facts(run, keeper))
            keeper.forget()
    ranks.leave()


def _epochs(run: Run, keeper: Keeper, description: str) -> None:
    left = range(run.epoch, run.recipe.epochs + 1)
    for _ in track(left, description, total=run.recipe.epochs, done=run.epoch - 1):
        if run.finished:
            log.info("no better %s since epoch %d", run.recipe.monitor, run.best.epoch)
            return
        clock = time.monotonic()
        row = run.finish_epoch(keeper.at_boundary)
        keeper.at_epoch_end(time.monotonic() - clock)
        log.info("%s", " ".join(f"{name} {value:.5g}" for name, value in row.items()))


def _facts(run: Run, keeper: Keeper) -> dict[str, Any]:
    return {
        "best": {
            "epoch": run.best.epoch,
            "monitor": run.recipe.monitor,
            "value": run.best.value,
        },
        "epochs": len(run.history),
        "stopped_early": len(run.history) < run.recipe.epochs,
        "parameters": count_parameters(run.model),
        "precision": run.precision,
        "threads": run.recipe.threads,
        "seconds_an_epoch": keeper.seconds,
        "state": keeper.key,
        "resumed_from": keeper.origin,
        "attempts": keeper.attempts.entries,
    }
