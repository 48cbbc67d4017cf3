"""Samples of one split -> one shard and the facts about it."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.data import Data
    from tailproof.data.shards import shard

    shard(
        snakemake.input.samples,
        snakemake.input.splits,
        Data(**snakemake.params.data),
        snakemake.wildcards.split,
        int(snakemake.wildcards.part),
        snakemake.output.shard,
        snakemake.output.facts,
    )
