"""Shards of train and dev -> what simple summaries of the images give away."""

from tailproof.runtime.stage import job

with job(snakemake):
    from tailproof.data.shortcuts import probe

    probe(snakemake.input.manifest, snakemake.output.shortcuts)
