"""The tables of the raw collection -> context.parquet, columns of the source's table."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.data import Data
    from tailproof.data.context import write_context

    write_context(Data(**snakemake.params.data), snakemake.input.samples, snakemake.output.context)
