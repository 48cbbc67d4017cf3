"""Raw collection -> samples.parquet."""

from tailproof.core.config.data import Data
from tailproof.core.job import job
from tailproof.data.prepare import prepare

with job("prepare", snakemake.log[0]):
    prepare(Data(**snakemake.params.data), snakemake.output.samples)
