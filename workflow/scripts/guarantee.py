"""Calibrated logits of all experts -> guarantees.json and the rules of every expert."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.evaluation import Evaluation
    from tailproof.config.guarantees import Guarantees
    from tailproof.guarantees.guarantee import guarantee
    from tailproof.runtime.stages import logits_by_expert, paths_by

    params, unknown = snakemake.params, dict[str, dict[str, str]]()
    scores = paths_by("score_unknown", ("expert", "seed"), snakemake.input.unknown)
    for (expert, seed), path in scores.items():
        unknown.setdefault(expert, {})[seed] = path
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
        unknown,
    )
