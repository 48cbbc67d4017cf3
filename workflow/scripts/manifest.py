"""Facts of all shards -> manifest.json."""

from pathlib import Path

from tailproof.provenance.job import job

with job(snakemake):
    from tailproof.core.config.data import Data
    from tailproof.core.config.splits import SPLITS
    from tailproof.data.shards import gather

    data = Data(**snakemake.params.data)
    facts = [Path(path) for path in snakemake.input.facts]
    gather(
        snakemake.input.samples,
        {s: facts[i * data.parts : (i + 1) * data.parts] for i, s in enumerate(SPLITS)},
        data,
        snakemake.output.manifest,
    )
