"""Shards -> the history of a point up to a rung; its state goes on from there."""

import json
from pathlib import Path

from tailproof.provenance.job import job

with job(snakemake):
    from tailproof.core.errors import TailproofError

    if snakemake.resources.cleared != "yes":
        raise TailproofError(snakemake.resources.cleared)
    from tailproof.core.config.recipe import Recipe
    from tailproof.training.launch import launch
    from tailproof.training.places import recipe_of_place

    params, wildcards = snakemake.params, snakemake.wildcards
    recipe = params.recipe or recipe_of_place(snakemake.input.standing, wildcards.expert)
    launch(
        snakemake.input.manifest,
        Recipe(**recipe, **json.loads(snakemake.resources.running)),
        int(wildcards.seed),
        Path(snakemake.output.history).parent,
        Path(".state/train"),
        params.trains,
        snakemake.log[0],
        params.until,
    )
