"""The stage export: calibrated logits of every split but train."""

from collections.abc import Mapping
from pathlib import Path

from tailproof.calibration.calibrated_logits import (
    calibrate_block,
    calibrated_metadata,
    check_calibrators,
)
from tailproof.calibration.calibration_file import CalibrationFile
from tailproof.data.logits import LabelledSamples, LogitsFile, write_logits
from tailproof.runtime.errors import TailproofError


def export(
    raw: Mapping[str, str | Path], calibration: str | Path, outputs: Mapping[str, str | Path]
) -> dict[str, int]:
    """Apply the calibrators of calibration.json to the raw logits of each split.

    Each output carries the raw file's metadata and what undoes the calibration:
    `tailproof.calibration.calibrated_logits`.

    Args:
        raw: the raw logits file of each split.
        calibration: calibration.json of the same expert.
        outputs: the path of the calibrated logits of each split of `raw`.

    Returns:
        The number of rows of each split.

    Raises:
        TailproofError: a file holds a different split than expected, or logits of different weights
            or ranks than those that the calibrators were fitted on, or calibration.json is damaged.
    """
    if set(raw) != set(outputs):
        raise TailproofError(
            f"expected outputs for the splits {', '.join(sorted(raw))}, found outputs for "
            f"{', '.join(sorted(outputs))}: correct the outputs of the rule export"
        )
    fitted = CalibrationFile.read(calibration)
    rows = {}
    for split, path in raw.items():
        logits = LogitsFile.open(path)
        if logits.metadata["split"] != split:
            raise TailproofError(
                f"{path} holds the split '{logits.metadata['split']}', expected '{split}': run "
                "snakemake again with --forcerun infer"
            )
        if logits.metadata["weights_sha256"] != fitted.weights_sha256:
            raise TailproofError(
                f"{path} was computed with the weights {logits.metadata['weights_sha256'][:12]}…, "
                f"but {calibration} was fitted on {fitted.weights_sha256[:12]}…: run snakemake "
                "again with --forcerun infer calibrate"
            )
        calibrators = fitted.calibrators(logits.metadata["target"])
        check_calibrators(logits.classes, calibrators)
        used = {rank: calibrators[rank] for rank in logits.classes}
        write_logits(
            outputs[split],
            LabelledSamples(
                logits.sample_ids,
                logits.labels,
                logits.weight,
                calibrated_metadata(logits.metadata, used),
            ),
            logits.classes,
            (calibrate_block(block, used) for _, block in logits.blocks()),
        )
        rows[split] = len(logits)
    return rows
