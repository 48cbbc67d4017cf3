"""samples.parquet -> splits.parquet and its summary."""

from tailproof.config.data import Data
from tailproof.data.splits import split
from tailproof.runtime.stage import job

with job(snakemake):
    split(
        snakemake.input.samples,
        Data(**snakemake.params.data),
        snakemake.output.splits,
        snakemake.output.summary,
    )
