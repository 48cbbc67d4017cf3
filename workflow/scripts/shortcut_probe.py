"""Shards of train and dev -> how well simple image statistics predict the class."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.data.shortcuts import probe

    probe(snakemake.input.manifest, snakemake.output.shortcuts)
