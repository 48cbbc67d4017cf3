"""samples.parquet -> splits.parquet and its summary."""

from tailproof.core.config.data import Data
from tailproof.core.job import job
from tailproof.data.splits import split

with job("split", snakemake.log[0]):
    split(
        snakemake.input.samples,
        Data(**snakemake.params.data),
        snakemake.output.splits,
        snakemake.output.summary,
    )
