"""Checks of the loader workers."""

from tailproof.config.recipe import Recipe
from tailproof.diagnosis.finding import Finding
from tailproof.preflight.experiment_facts import ExperimentFacts
from tailproof.preflight.registry import check, each_recipe


def streams(recipe: Recipe, facts: ExperimentFacts) -> bool:
    """Return whether the shards are read again in every epoch."""
    return facts.decoded_bytes > recipe.cache_gb * 2**30


@check("more_workers_than_shards")
@each_recipe
def more_workers_than_shards(recipe: Recipe, facts: ExperimentFacts) -> Finding | None:
    """Find more loader workers than row groups in the shards."""
    if recipe.features or facts.row_groups is None or not streams(recipe, facts):
        return None
    processes = recipe.devices * recipe.nodes
    workers = processes * recipe.workers
    if workers <= facts.row_groups:
        return None
    return Finding(
        "more_workers_than_shards",
        f"{workers} loader workers for {facts.row_groups} row group{'s' * (facts.row_groups != 1)} "
        "of the shards: several workers read the same ones",
        "warning",
        evidence={"workers": workers, "row_groups": facts.row_groups, "processes": processes},
        change={"workers": facts.row_groups // processes},
        expects="less reading and memory at the same speed",
    )
