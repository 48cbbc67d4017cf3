"""Calibrated logits of all folds -> one held-out prediction of every sample, and metrics."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.config.evaluation import Evaluation
    from tailproof.evaluation.cross_fit import FoldFiles, cross_fit
    from tailproof.evaluation.evaluate import results_of
    from tailproof.runtime.ledger import by_experiment
    from tailproof.runtime.stages import logits_by_expert

    params = snakemake.params
    logits, manifests, samples, splits = (
        by_experiment(snakemake.input[name])
        for name in ("logits", "manifests", "samples", "splits")
    )
    folds = {}
    for fold in params.folds:
        experts = logits_by_expert(logits[fold], params)
        folds[fold] = FoldFiles(experts, *manifests[fold], *samples[fold], *splits[fold])
    metrics = cross_fit(
        folds,
        Evaluation(**params.evaluation),
        Path(snakemake.output.metrics).parent,
        params.students,
    )
    stage.results.update(results_of(metrics))
