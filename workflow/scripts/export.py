"""Raw logits and temperature -> calibrated logits of all six splits."""

from tailproof.calibration.export import export
from tailproof.config.splits import SPLITS
from tailproof.runtime.stage import job

with job(snakemake) as stage:
    stage.results["rows"] = export(
        dict(zip(SPLITS, snakemake.input.raw, strict=True)),
        snakemake.input.calibration,
        dict(zip(SPLITS, snakemake.output.logits, strict=True)),
    )
