"""samples.parquet (and the near duplicates to group) -> splits.parquet and its summary."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.data import Data
    from tailproof.data.splits import split

    split(
        snakemake.input.samples,
        Data(**snakemake.params.data),
        snakemake.output.splits,
        snakemake.output.summary,
        snakemake.input.near_duplicates or None,
    )
