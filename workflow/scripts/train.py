"""Shards -> one expert."""

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
    from tailproof.training.run_summary import results_of

    params, wildcards = snakemake.params, snakemake.wildcards
    recipe = params.recipe or recipe_for_slot(snakemake.input.standing, wildcards.expert)
    folder = Path(snakemake.output.weights).parent
    launch(
        snakemake.input.manifest,
        Recipe(**recipe, **json.loads(snakemake.resources.running)),
        int(wildcards.seed),
        folder,
        Path(".state/train"),
        params.code,
        snakemake.log[0],
        digests=stage.digests,
    )
    stage.results.update(results_of(folder))
