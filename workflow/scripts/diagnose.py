"""history.csv -> diagnosis.json."""

from tailproof.provenance.job import job

with job(snakemake) as results:
    from tailproof.core.finding import brief
    from tailproof.diagnosis.run import write_diagnosis

    found = write_diagnosis(
        snakemake.input.history,
        snakemake.input.training,
        snakemake.input.manifest,
        snakemake.params.recipes,
        snakemake.input.get("selection"),
        snakemake.params.expect,
        snakemake.output.diagnosis,
    )
    results["findings"] = [brief(finding.plain()) for finding in found]
