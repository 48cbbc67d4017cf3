"""History of a training run -> diagnosis.json."""

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.diagnosis.diagnose import write_diagnosis
    from tailproof.diagnosis.finding import for_record

    findings = write_diagnosis(
        snakemake.input.history,
        snakemake.input.training,
        snakemake.input.manifest,
        snakemake.params.recipes,
        snakemake.input.selection or None,
        snakemake.params.targets,
        snakemake.output.diagnosis,
    )
    stage.results["findings"] = [for_record(finding.to_jsonable()) for finding in findings]
