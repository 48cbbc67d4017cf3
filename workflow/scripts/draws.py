"""Metrics of all draws -> their mean and spread."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.evaluation.draws import compare_draws
    from tailproof.runtime.ledger import experiment_of

    metrics = {str(experiment_of(path)): path for path in snakemake.input.metrics}
    compare_draws(metrics, snakemake.params.draws, Path(snakemake.output.metrics).parent)
