"""Facts of all shards -> manifest.json."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.data import Data
    from tailproof.config.splits import SPLITS
    from tailproof.data.manifest import write_manifest
    from tailproof.runtime.stages import paths_by

    facts = paths_by("shard", ("split", "part"), snakemake.input.facts)
    by_split = {
        split: [Path(path) for (name, _), path in sorted(facts.items()) if name == split]
        for split in SPLITS
    }
    data = Data(**snakemake.params.data)
    write_manifest(snakemake.input.samples, by_split, data, snakemake.output.manifest)
