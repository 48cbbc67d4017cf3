"""Logits of the experts of one seed -> the answers of their ensemble on train."""

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.evaluation.teacher import teach, teaching_of

    inputs, seed = snakemake.input, int(snakemake.wildcards.seed)
    files = teaching_of(snakemake.params.experts, [*inputs.raw, *inputs.calibrations, *inputs.tune])
    stage.results["teacher"] = teach(files, seed, snakemake.output.teacher)
