"""Facts of all shards -> manifest.json."""

from pathlib import Path

from tailproof.runtime.stage import job

with job(snakemake):
    from tailproof.config.data import Data
    from tailproof.config.splits import SPLITS
    from tailproof.data.shards import gather
    from tailproof.runtime.stages import paths_by

    facts = paths_by("shard", ("split", "part"), snakemake.input.facts)
    by_split = {
        split: [Path(path) for (name, _), path in sorted(facts.items()) if name == split]
        for split in SPLITS
    }
    data = Data(**snakemake.params.data)
    gather(snakemake.input.samples, by_split, data, snakemake.output.manifest)
