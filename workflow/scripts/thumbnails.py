"""Shards of train -> thumbnails.json with an image of each class."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.data.thumbnails import write_class_thumbnails

    write_class_thumbnails(snakemake.input.manifest, snakemake.output.thumbnails)
