"""Shards of train and dev -> what simple summaries of the images give away."""

from tailproof.data.probe import probe
from tailproof.provenance.job import job

with job(snakemake):
    probe(snakemake.input.manifest, snakemake.output.shortcuts)
