"""Calibrated logits of all experts -> guarantees.json and the rules of every expert."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.evaluation import Evaluation
    from tailproof.config.guarantees import Guarantees
    from tailproof.guarantees.guarantee import guarantee
    from tailproof.runtime.stages import logits_by_expert, unknown_scores_by_expert

    params = snakemake.params
    guarantee(
        logits_by_expert(snakemake.input.logits, params),
        snakemake.input.manifest,
        snakemake.input.samples,
        Evaluation(**params.evaluation),
        Guarantees(**params.guarantees),
        snakemake.wildcards.experiment,
        Path(snakemake.output.guarantees).parent,
        snakemake.input.splits,
        snakemake.input.context or None,
        unknown_scores_by_expert(snakemake.input.unknown),
        params.students,
    )
