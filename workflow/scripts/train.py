"""Shards -> one expert."""

import json
from pathlib import Path

from tailproof.core.config.recipe import Recipe
from tailproof.core.job import job

with job("train", snakemake.log[0]):
    from tailproof.training import launch

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
