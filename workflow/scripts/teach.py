"""Calibrated logits of the experts of one seed -> the answers of their ensemble on train."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.evaluation.teacher import teach
    from tailproof.runtime.stages import paths_by

    params, seed = snakemake.params, snakemake.wildcards.seed
    keyed = paths_by("export", ("expert", "split"), snakemake.input.logits)
    teach(
        {name: {split: keyed[name, split] for split in params.splits} for name in params.experts},
        int(seed),
        snakemake.output.teacher,
    )
