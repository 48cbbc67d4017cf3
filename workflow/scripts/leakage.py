"""Near duplicates and splits -> counts by pair of splits, and the pairs of different classes."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.data import Data
    from tailproof.data.leakage import measure_leakage

    measure_leakage(
        snakemake.input.samples,
        snakemake.input.splits,
        snakemake.input.pairs,
        snakemake.input.thumbnails,
        Data(**snakemake.params.data),
        snakemake.output.leakage,
        snakemake.output.cross_class,
    )
