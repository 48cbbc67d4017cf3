"""Shards of train and dev -> what simple summaries of the images give away."""

from tailproof.data.shortcuts import probe
from tailproof.runtime.stage import job

with job(snakemake):
    probe(snakemake.input.manifest, snakemake.output.shortcuts)
