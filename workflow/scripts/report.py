"""Everything on disk -> report/index.html."""

from pathlib import Path

from tailproof.core.config.experiment import Experiment
from tailproof.core.job import job
from tailproof.report.page import write_page

with job("report", snakemake.log[0]):
    write_page(
        snakemake.wildcards.experiment,
        Experiment(**snakemake.params.experiment),
        Path(snakemake.output.page).parents[1],
        snakemake.output.page,
    )
