"""Raw collection -> samples.parquet, and the checksums of its files."""

from tailproof.config.data import Data
from tailproof.data.prepare import prepare
from tailproof.data.raw_checksums import list_raw
from tailproof.runtime.stage import job

with job(snakemake, raw=("raw",)):
    data = Data(**snakemake.params.data)
    prepare(data, snakemake.output.samples)
    list_raw(data, snakemake.output.samples, snakemake.output.raw)
