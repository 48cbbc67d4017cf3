"""Raw logits on calib -> calibration.json."""

from tailproof.runtime.job import job

with job(snakemake):
    from tailproof.calibration.calibrate import calibrate
    from tailproof.config.calibration import Calibration

    calibrate(
        snakemake.input.raw,
        Calibration(**snakemake.params.calibration),
        snakemake.output.calibration,
    )
