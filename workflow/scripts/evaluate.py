"""Calibrated logits of all experts -> metrics.json and its tables."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.config.evaluation import Evaluation
    from tailproof.evaluation.evaluate import evaluate, results_of
    from tailproof.evaluation.sample_groups import read_groups
    from tailproof.runtime.stages import logits_by_expert

    params = snakemake.params
    metrics = evaluate(
        logits_by_expert(snakemake.input.logits, params),
        snakemake.input.manifest,
        Evaluation(**params.evaluation),
        Path(snakemake.output.metrics).parent,
        read_groups(snakemake.input.samples),
        params.students,
    )
    stage.results.update(results_of(metrics))
