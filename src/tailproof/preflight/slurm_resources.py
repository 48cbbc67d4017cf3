"""What a job that trains by a recipe asks the cluster for, the first time that it is tried."""

import math
from typing import Any

from tailproof.config.recipe import Recipe

TRAIN_MINUTES = 720
"""The longest time that is asked for; a run that needs more saves its state and goes on."""


def cores(recipe: Recipe) -> int:
    """Return the cores that the processes of one node, and their workers, take."""
    return recipe.devices * (recipe.threads + recipe.workers)


def memory_mb(recipe: Recipe) -> int:
    """Return the memory, in MB, that a process that trains or infers and its workers take."""
    return round(2500 + 1024 * recipe.cache_gb + 500 * recipe.workers)


def request_of(recipe: Recipe) -> dict[str, Any]:
    """Return the whole request: memory and cores are of each node, GPUs of all."""
    return {
        "nodes": recipe.nodes,
        "gpus": recipe.devices * recipe.nodes,
        "cores_a_node": cores(recipe),
        "memory_mb_a_node": recipe.devices * memory_mb(recipe),
        "minutes": TRAIN_MINUTES,
    }


def with_measurements(request: dict[str, Any], timed: dict[str, Any]) -> dict[str, Any]:
    """Return a request with what the preflight measured, if it did.

    Time is twice the estimate and half an hour, since nodes differ and a run that is resumed
    repeats steps; memory a quarter more than a process took, if that is more than the request's.

    Args:
        request: by `request_of`.
        timed: of the expert in preflight_timing.json; empty where there is none.
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
