"""Raw logits and calibrators -> calibrated logits of all splits but train."""

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.calibration.export import export
    from tailproof.runtime.stages import paths_by

    stage.results["rows"] = export(
        paths_by("infer", ("split",), snakemake.input.raw),
        snakemake.input.calibration,
        paths_by("export", ("split",), snakemake.output.logits),
    )
