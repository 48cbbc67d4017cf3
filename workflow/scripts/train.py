"""Shards -> one expert."""

import json
from pathlib import Path

from tailproof.provenance.job import job

with job(snakemake) as results:
    from tailproof.core.errors import TailproofError

    if snakemake.resources.cleared != "yes":
        raise TailproofError(snakemake.resources.cleared)
    from tailproof.core.config.recipe import Recipe
    from tailproof.training.launch import launch
    from tailproof.training.places import recipe_of_place
    from tailproof.training.results import results_of

    params, wildcards = snakemake.params, snakemake.wildcards
    recipe = params.recipe or recipe_of_place(snakemake.input.standing, wildcards.expert)
    folder = Path(snakemake.output.weights).parent
    launch(
        snakemake.input.manifest,
        Recipe(**recipe, **json.loads(snakemake.resources.running)),
        int(wildcards.seed),
        folder,
        Path(".state/train"),
        params.code,
        snakemake.log[0],
    )
    results.update(results_of(folder))
