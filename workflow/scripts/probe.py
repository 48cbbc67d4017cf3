"""Shards of train and dev -> what simple summaries of the images give away."""

from tailproof.provenance.job import job

with job(snakemake):
    from tailproof.data.probe import probe

    probe(snakemake.input.manifest, snakemake.output.shortcuts)
