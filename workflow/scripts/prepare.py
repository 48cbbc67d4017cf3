"""Raw collection -> samples.parquet, what was left out, and the checksums of its files."""

from tailproof.runtime.job import job

with job(snakemake, raw=("raw",)):
    from tailproof.config.data import Data
    from tailproof.data.prepare import prepare
    from tailproof.data.raw_checksums import list_raw

    data = Data(**snakemake.params.data)
    prepare(data, snakemake.output.samples, snakemake.log.bad_images)
    list_raw(data, snakemake.output.samples, snakemake.output.raw)
