"""Shards -> the history of a point up to a rung; its state goes on from there."""

import json
from pathlib import Path

from tailproof.config.recipe import Recipe
from tailproof.runtime.errors import TailproofError
from tailproof.runtime.stage import job

with job(snakemake) as stage:
    if snakemake.resources.cleared != "yes":
        raise TailproofError(snakemake.resources.cleared)
    from tailproof.sweep.rungs import recipe_for_slot
    from tailproof.training.launcher import launch

    params, wildcards = snakemake.params, snakemake.wildcards
    recipe = params.recipe or recipe_for_slot(snakemake.input.standing, wildcards.expert)
    launch(
        snakemake.input.manifest,
        Recipe(**recipe, **json.loads(snakemake.resources.running)),
        int(wildcards.seed),
        Path(snakemake.output.history).parent,
        Path(".state/train"),
        params.trains,
        snakemake.log[0],
        params.until,
        stage.digests,
    )
