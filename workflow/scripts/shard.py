"""Samples of one split -> one shard and its facts."""

from tailproof.core.config.data import Data
from tailproof.core.job import job
from tailproof.data.shards import shard

with job("shard", snakemake.log[0]):
    shard(
        snakemake.input.samples,
        snakemake.input.splits,
        Data(**snakemake.params.data),
        snakemake.wildcards.split,
        int(snakemake.wildcards.part),
        snakemake.output.shard,
        snakemake.output.facts,
    )
