"""Times a few real steps of training and validation on the available device."""

import logging
import resource
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from tailproof.config.recipe import Recipe
from tailproof.digests import canonical_json
from tailproof.files import read_json
from tailproof.preflight.checks.timed_steps import failed_steps
from tailproof.preflight.timing.drawn_features import head_on_drawn_features
from tailproof.preflight.timing.network_size import size_of_answers
from tailproof.runtime.environment import describe_machine
from tailproof.runtime.errors import TailproofError
from tailproof.training.distributed import ProcessGroup
from tailproof.training.network_on_images import NetworkOnImages
from tailproof.training.run import TrainingRun

WARM, STEPS = 2, 8  # steps that are not timed; most steps that are
ENOUGH_SECONDS = 3.0  # the timing stops after this time
SAME_COST = ("loss", "sampler", "monitor", "export", "early_stopping", "resume_from")
"""Fields of a recipe that do not change the time of a step."""

REFUSED = "training rejects this recipe with these data: the log of the preflight gives the reason"

log = logging.getLogger(__name__)


class _Enough(Exception):  # noqa: N818 - no error
    """Enough steps have been timed."""


class _Clock:
    """Takes the time after every batch, and stops after enough of them.

    Args:
        device: the device to synchronise with.
        steps: number of batches.
    """

    def __init__(self, device: torch.device, steps: int) -> None:
        self._device, self._limit = device, min(steps, WARM + STEPS)
        self.ticks: list[float] = []

    def __call__(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.ticks.append(time.monotonic())
        timed = self.ticks[-1] - self.ticks[min(WARM, len(self.ticks)) - 1]
        if len(self.ticks) >= self._limit or (len(self.ticks) > WARM and timed > ENOUGH_SECONDS):
            raise _Enough

    def seconds(self, start: float) -> float:
        """Return the mean time of a batch, without the first ones if there are more."""
        first = min(WARM, len(self.ticks) - 1)
        if first == 0:
            return self.ticks[0] - start
        return (self.ticks[-1] - self.ticks[first - 1]) / (len(self.ticks) - first)


def measure(manifest: str | Path, recipes: dict[str, Recipe]) -> dict[str, Any]:
    """Train every expert for a few steps and discard the weights.

    Experts whose steps cost the same are timed once. For a run on several devices, one process with
    its share of the batch is timed, without communication.

    Returns:
        ``device``; ``experts`` with the times of each in seconds; ``findings``: runs that fail.
    """
    times: dict[str, dict[str, Any]] = {}
    by_expert, failed = dict[str, Any](), dict[str, list[str]]()
    for name, recipe in recipes.items():
        single = recipe if recipe.features else _single_process(recipe)
        single = single.model_copy(update={"distill": None})  # there is no teacher yet
        plain = single.model_dump(mode="json")
        key = canonical_json({field: plain[field] for field in plain if field not in SAME_COST})
        if "failed" in times.get(key, {"failed": ""}):  # the fields left out may be the reason
            times[key] = _measure(manifest, single)
        by_expert[name] = times[key]
        if recipe.distill and "run" in times[key]:
            by_expert[name] = _with_answers(times[key], read_json(manifest))
        if "failed" in times[key]:
            failed.setdefault(times[key]["failed"], []).append(name)
    return {
        "device": describe_machine(1).device,
        "experts": by_expert,
        "findings": [finding.to_jsonable() for finding in failed_steps(failed)],
    }


def _with_answers(timed: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the times of an expert as those of a student, which has its teacher's answers too."""
    size = size_of_answers(manifest) / 2**20
    kinds = ("peak_memory_mb", "host_memory_mb")
    return timed | {kind: _rounded(timed[kind] + size) for kind in kinds}


def _single_process(recipe: Recipe) -> Recipe:
    """Return the recipe of a single process of the run, from random weights."""
    processes = recipe.devices * recipe.nodes
    shared = [
        phase.model_copy(update={"batch_size": phase.batch_size // processes})
        for phase in (recipe.timeline if recipe.phases else [])
    ]
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"weights": None}),
            "normalize": recipe.normalize is not False,
            "devices": 1,
            "nodes": 1,
            "phases": shared,
            "batch_size": recipe.batch_size // processes,
        }
    )


def _measure(manifest: str | Path, recipe: Recipe) -> dict[str, Any]:
    run = None
    try:
        started = time.monotonic()
        learner = head_on_drawn_features if recipe.features else NetworkOnImages
        run = TrainingRun(learner(manifest, recipe), 0, ProcessGroup(1))
        if run.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(run.device)
        return _timed(run, run.recipe, started)
    except TailproofError as error:
        log.error("%s", error)
        return {"failed": REFUSED}
    except RuntimeError as error:  # torch raises it when memory is full
        return {"failed": str(error).splitlines()[0]}
    finally:
        if run is not None:
            run.close()


def _timed(run: TrainingRun, recipe: Recipe, started: float) -> dict[str, Any]:
    steps, epochs, waited = list[float](), list[float](), 0.0
    for phase in recipe.timeline:
        run.epoch, run.step = phase.from_epoch, 0
        clock = _Clock(run.device, run.steps)
        begun = time.monotonic()
        with suppress(_Enough):
            run.finish_epoch(clock)
        waited += clock.ticks[0] - (begun if steps else started)
        steps.append(clock.seconds(begun))
        epochs.append(run.phases.steps(phase.from_epoch) * steps[-1])
    batches = -(-run.learner.manifest["splits"]["val"]["rows"] // recipe.batch_size)
    clock = _Clock(run.device, batches)
    begun = time.monotonic()
    with suppress(_Enough):
        run.validate(clock)
    validation = batches * clock.seconds(begun)
    starts = [*(phase.from_epoch for phase in recipe.timeline), recipe.epochs + 1]
    lengths = [after - start for start, after in pairwise(starts)]
    whole = sum(length * seconds for length, seconds in zip(lengths, epochs, strict=True))
    whole += -(-recipe.epochs // recipe.validate_every) * validation
    if recipe.tune and recipe.tune.head == "cosine":  # one pass over train for the class means
        splits = run.learner.manifest["splits"]
        whole += validation * splits["train"]["rows"] / splits["val"]["rows"]
    return {
        "start": _rounded(waited),
        "step": [_rounded(seconds) for seconds in steps],
        "epoch": [_rounded(seconds + validation / recipe.validate_every) for seconds in epochs],
        "validation": _rounded(validation),
        "run": _rounded(waited + whole),
        "peak_memory_mb": _rounded(_peak(run.device) / 2**20),
        "host_memory_mb": _rounded(_peak_of_process() / 2**20),
        "precision": run.precision,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _peak(device: torch.device) -> int:
    """Return the peak memory in bytes: allocated on a GPU, or else used by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _peak_of_process()


def _peak_of_process() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
