"""Calibrated logits of all experts -> guarantees.json and the rules of every expert."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.evaluation import Evaluation
    from tailproof.config.guarantees import Guarantees
    from tailproof.guarantees.guarantee import guarantee
    from tailproof.runtime.stages import paths_by

    params = snakemake.params
    logits = paths_by("export", ("expert", "seed", "split"), snakemake.input.logits)
    experts = {
        expert: {
            str(seed): {split: logits[expert, str(seed), split] for split in params.splits}
            for seed in params.seeds
        }
        for expert in params.experts
    }
    guarantee(
        experts,
        snakemake.input.manifest,
        snakemake.input.samples,
        Evaluation(**params.evaluation),
        Guarantees(**params.guarantees),
        snakemake.wildcards.experiment,
        Path(snakemake.output.guarantees).parent,
    )
