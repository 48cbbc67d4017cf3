"""Calibrated logits of all experts -> metrics.json and its tables."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.config.evaluation import Evaluation
    from tailproof.evaluation.evaluate import evaluate, results_of
    from tailproof.evaluation.sample_groups import read_groups
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
    metrics = evaluate(
        experts,
        snakemake.input.manifest,
        Evaluation(**params.evaluation),
        Path(snakemake.output.metrics).parent,
        read_groups(snakemake.input.samples),
    )
    stage.results.update(results_of(metrics))
