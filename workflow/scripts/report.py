"""Everything on disk -> report/index.html, and preflight.html and curves.csv beside it."""

from pathlib import Path

from tailproof.provenance.job import job

with job(snakemake):
    from tailproof.core.config.experiment import Experiment
    from tailproof.report.curves import write_curves
    from tailproof.report.page import write_page
    from tailproof.report.preflight_page import write_preflight_page

    experiment = Experiment(**snakemake.params.experiment)
    results = Path(snakemake.output.page).parents[1]
    write_page(snakemake.wildcards.experiment, experiment, results, snakemake.output.page)
    write_preflight_page(
        snakemake.wildcards.experiment,
        experiment,
        results,
        Path(".state/train"),
        snakemake.output.preflight,
    )
    write_curves(experiment, results, snakemake.output.curves)
