"""Facts of all shards -> manifest.json."""

from pathlib import Path

from tailproof.runtime.stage import job

with job(snakemake):
    from tailproof.config.data import Data
    from tailproof.config.splits import SPLITS
    from tailproof.data.shards import gather

    data = Data(**snakemake.params.data)
    facts = [Path(path) for path in snakemake.input.facts]
    shards = data.shards_per_split
    by_split = {split: facts[n * shards : (n + 1) * shards] for n, split in enumerate(SPLITS)}
    gather(snakemake.input.samples, by_split, data, snakemake.output.manifest)
