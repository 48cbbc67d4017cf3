"""Shards of train -> thumbnails.json with an image of each class."""

from tailproof.report.thumbnails import write_class_thumbnails
from tailproof.runtime.stage import job

with job(snakemake):
    write_class_thumbnails(snakemake.input.manifest, snakemake.output.thumbnails)
