"""Calibrated logits of all experts -> metrics.json and its tables."""

from itertools import product
from pathlib import Path

from tailproof.config.evaluation import Evaluation
from tailproof.evaluation.evaluate import evaluate, results_of
from tailproof.runtime.stage import job

with job(snakemake) as stage:
    params = snakemake.params
    experts = {name: {str(seed): {} for seed in params.seeds} for name in params.experts}
    named = product(params.experts, params.seeds, params.splits)
    for (expert, seed, split), path in zip(named, snakemake.input.logits, strict=True):
        experts[expert][str(seed)][split] = path
    metrics = evaluate(
        experts,
        snakemake.input.manifest,
        Evaluation(**params.evaluation),
        Path(snakemake.output.metrics).parent,
    )
    stage.results.update(results_of(metrics))
