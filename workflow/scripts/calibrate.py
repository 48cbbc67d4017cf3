"""Raw logits on calib -> calibration.json."""

from tailproof.calibration.calibrate import calibrate
from tailproof.core.config.calibration import Calibration
from tailproof.core.job import job

with job("calibrate", snakemake.log[0]):
    calibrate(
        snakemake.input.raw,
        Calibration(**snakemake.params.calibration),
        snakemake.output.calibration,
    )
