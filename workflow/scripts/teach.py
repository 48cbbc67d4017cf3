"""Logits of the experts of one seed -> the answers of their ensemble on train."""

from tailproof.runtime.job import job

with job(snakemake) as stage:
    from tailproof.evaluation.teacher import Teaching, teach
    from tailproof.runtime.stages import paths_by

    inputs = snakemake.input
    raw = paths_by("infer", ("expert",), inputs.raw)
    calibrations = paths_by("calibrate", ("expert",), inputs.calibrations)
    tune = paths_by("export", ("expert",), inputs.tune)
    stage.results["teacher"] = teach(
        {
            name: Teaching(raw[name], calibrations[name], tune[name])
            for name in snakemake.params.experts
        },
        int(snakemake.wildcards.seed),
        snakemake.output.teacher,
    )
