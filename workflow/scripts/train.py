"""Shards -> one expert."""

from pathlib import Path

from tailproof.core.config.recipe import Recipe
from tailproof.core.job import job

with job("train", snakemake.log[0]):
    from tailproof.training import train

    folder = Path(snakemake.output.weights).parent
    train(
        snakemake.input.manifest,
        Recipe(**snakemake.params.recipe),
        int(snakemake.wildcards.seed),
        folder,
        Path(".state") / folder,
    )
