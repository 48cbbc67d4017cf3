"""Raw logits on calib, and on val or tune if configured -> calibration.json."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.calibration.calibrate import calibrate
    from tailproof.config.calibration import Calibration
    from tailproof.runtime.stages import paths_by

    calibrate(
        paths_by("infer", ("split",), snakemake.input.raw),
        Calibration(**snakemake.params.calibration),
        snakemake.output.calibration,
    )
