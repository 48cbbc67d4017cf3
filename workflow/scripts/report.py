"""All results -> report/index.html, report/preflight.html and report/curves.csv."""

from pathlib import Path

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.config.experiment import Experiment
    from tailproof.report.page import write_page
    from tailproof.report.preflight_page import write_preflight_page
    from tailproof.report.training_charts import write_curves

    experiment = Experiment(**snakemake.params.experiment)
    results = Path(snakemake.output.page).parents[1]
    write_page(
        snakemake.wildcards.experiment,
        experiment,
        results,
        snakemake.output.page,
        snakemake.input.pooled,
    )
    write_preflight_page(
        snakemake.wildcards.experiment, experiment, results, snakemake.output.preflight
    )
    write_curves(experiment, results, snakemake.output.curves)
