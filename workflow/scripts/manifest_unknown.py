"""Facts of the shards of unknown pictures -> unknown.json."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.splits import UNKNOWN_SPLITS
    from tailproof.data.manifest import write_unknown_manifest
    from tailproof.runtime.stages import paths_by

    facts = paths_by("shard", ("split", "part"), snakemake.input.facts)
    by_split = {
        split: [Path(path) for (name, _), path in sorted(facts.items()) if name == split]
        for split in UNKNOWN_SPLITS
    }
    inputs, output = snakemake.input, Path(snakemake.output.manifest)
    write_unknown_manifest(inputs.manifest, inputs.samples, by_split, output)
