"""Findings of the preflight -> leave to train, or the reasons why not."""

from tailproof.preflight.clearance import clear
from tailproof.provenance.job import job

with job(snakemake):
    clear(
        snakemake.input.preflight,
        snakemake.input.probe,
        snakemake.params.accept,
        snakemake.output.clearance,
    )
