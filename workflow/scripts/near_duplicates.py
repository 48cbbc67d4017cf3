"""Thumbnails of all samples -> pairs of near duplicates."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.data.near_duplicates import list_near_duplicates

    list_near_duplicates(snakemake.input.thumbnails, snakemake.output.pairs)
