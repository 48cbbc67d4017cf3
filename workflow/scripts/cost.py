"""Folders of experts and of their ensemble -> what an answer of each costs."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.evaluation import STACKED
    from tailproof.predict.inference_cost import measure_costs
    from tailproof.runtime.stages import paths_by

    weights = paths_by("train", ("expert",), snakemake.input.weights)
    folders = {name: Path(weights[name]).parent for name in snakemake.params.experts}
    ensemble = Path(snakemake.input.ensemble[0]).parent
    measure_costs(folders | {STACKED: ensemble}, snakemake.threads, snakemake.output.cost)
