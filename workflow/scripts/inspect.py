"""Shards and calibrated logits -> labels to check, odd images and a gallery of the classes."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.evaluation import Evaluation
    from tailproof.inspection.inspect import inspect
    from tailproof.runtime.stages import paths_by

    logits = paths_by("export", ("expert", "seed", "split"), snakemake.input.logits)
    inspect(
        snakemake.input.manifest,
        snakemake.input.samples,
        {
            split: [path for key, path in logits.items() if key[-1] == split]
            for split in snakemake.params.splits
        },
        Evaluation(**snakemake.params.evaluation),
        Path(snakemake.output.summary).parent,
    )
