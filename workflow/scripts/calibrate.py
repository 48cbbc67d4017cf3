"""Raw logits on calib -> calibration.json."""

from tailproof.calibration.calibrate import calibrate
from tailproof.core.config.calibration import Calibration
from tailproof.provenance.job import job

with job(snakemake):
    calibrate(
        snakemake.input.raw,
        Calibration(**snakemake.params.calibration),
        snakemake.output.calibration,
    )
