"""Folders of experts and of their ensemble -> what an answer of each costs."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.evaluation import STACKED
    from tailproof.predict.inference_cost import measure_costs
    from tailproof.runtime.stages import paths_by

    weights = paths_by("train", ("expert", "seed"), snakemake.input.weights)
    seed, experts = str(snakemake.params.seed), snakemake.params.experts
    folders = {name: Path(weights[name, seed]).parent for name in experts}
    ensemble = Path(snakemake.input.ensemble[0]).parent
    measure_costs(folders | {STACKED: ensemble}, snakemake.threads, snakemake.output.cost)
