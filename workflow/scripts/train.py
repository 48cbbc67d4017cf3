"""Shards -> one expert."""

import json
from pathlib import Path

from tailproof.core.config.recipe import Recipe
from tailproof.provenance.job import job

with job(snakemake) as results:
    from tailproof.training import launch
    from tailproof.training.results import results_of

    folder = Path(snakemake.output.weights).parent
    launch(
        snakemake.input.manifest,
        Recipe(**snakemake.params.recipe, **json.loads(snakemake.resources.running)),
        int(snakemake.wildcards.seed),
        folder,
        Path(".state/train"),
        snakemake.params.code,
        snakemake.log[0],
    )
    results.update(results_of(folder))
