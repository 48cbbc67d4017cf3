"""What a job that trains by a recipe asks the cluster for, the first time that it is tried."""

from typing import Any

from tailproof.core.config.recipe import Recipe

TRAIN_MINUTES = 720


def cores(recipe: Recipe) -> int:
    """Return the cores that the processes of one node, and their workers, take."""
    return recipe.devices * (recipe.threads + recipe.workers)


def memory_mb(recipe: Recipe) -> int:
    """Return the memory, in MB, that a process that trains or infers and its workers take."""
    return round(2500 + 1024 * recipe.memory_budget_gb + 500 * recipe.workers)


def request_of(recipe: Recipe) -> dict[str, Any]:
    """Return the whole request: memory and cores are of each node, GPUs of all."""
    return {
        "nodes": recipe.nodes,
        "gpus": recipe.devices * recipe.nodes,
        "cores_a_node": cores(recipe),
        "memory_mb_a_node": recipe.devices * memory_mb(recipe),
        "minutes": TRAIN_MINUTES,
    }
