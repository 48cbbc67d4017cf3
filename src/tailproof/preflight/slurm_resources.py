"""The Slurm resources that a training job requests at its first attempt."""

import math
from pathlib import Path
from typing import Any

from tailproof.config.recipe import Recipe
from tailproof.files import read_json

TRAIN_MINUTES = 720
"""The longest time that is requested; a run that needs more saves its state and resumes."""


def cores(recipe: Recipe) -> int:
    """Return the number of cores for the processes of one node and their workers."""
    return recipe.devices * (recipe.threads + recipe.workers)


def memory_mb(recipe: Recipe) -> int:
    """Return the memory in MB for a process that trains or infers and its workers."""
    return round(2500 + 1024 * recipe.cache_gb + 500 * recipe.workers)


def request_of(recipe: Recipe) -> dict[str, Any]:
    """Return the whole request: memory and cores per node, GPUs over all nodes."""
    return {
        "nodes": recipe.nodes,
        "gpus": recipe.devices * recipe.nodes,
        "cores_a_node": cores(recipe),
        "memory_mb_a_node": recipe.devices * memory_mb(recipe),
        "minutes": TRAIN_MINUTES,
    }


def with_measurements(request: dict[str, Any], timed: dict[str, Any]) -> dict[str, Any]:
    """Return a request that is adapted to the measurements of the preflight.

    The time is twice the estimate plus half an hour, because nodes differ and a resumed run repeats
    steps. The memory is 1.25 times the measured memory, if that exceeds the request.

    Args:
        request: the result of `request_of`.
        timed: the entry of the expert in preflight_timing.json; empty if there is none.
    """
    if "run" not in timed:
        return request
    processes = request["gpus"] // request["nodes"]
    memory = processes * math.ceil(1.25 * timed["host_memory_mb"])
    return {
        **request,
        "memory_mb_a_node": max(request["memory_mb_a_node"], memory),
        "minutes": min(TRAIN_MINUTES, math.ceil(30 + 2 * timed["run"] / 60)),
    }


def measured_resource(recipe: Recipe, timing: Path, expert: str, name: str) -> int:
    """Return the amount of a resource for a training job, measured by the preflight if it ran.

    Args:
        recipe: recipe of the expert.
        timing: path of preflight_timing.json, which may not exist yet.
        expert: name of the expert.
        name: name of a field of `request_of`.

    Raises:
        TailproofError: the file is damaged.
    """
    measured = read_json(timing)["experts"].get(expert, {}) if timing.exists() else {}
    return with_measurements(request_of(recipe), measured)[name]
