"""Calibrates the logits of all ranks of an expert, and undoes it."""

from dataclasses import replace

import numpy as np

from tailproof.calibration.calibrator import Calibrator
from tailproof.data.logits import Logits
from tailproof.runtime.errors import TailproofError


def calibrate_logits(raw: Logits, calibrators: dict[str, Calibrator]) -> Logits:
    """Apply the calibrator of each rank, and record it in the metadata.

    The metadata hold the temperature of the target, `temperatures` if there are several ranks, and
    `calibrators` with those ranks that need more than a temperature to undo it.

    Raises:
        TailproofError: a rank has no calibrator, or one for another number of classes.
    """
    for rank, values in raw.heads.items():
        if rank not in calibrators:
            raise TailproofError(
                f"the rank '{rank}' has no calibrator: run the stage calibrate again"
            )
        bias = calibrators[rank].bias
        if bias is not None and len(bias) != values.shape[1]:
            raise TailproofError(
                f"the calibrator of the rank '{rank}' is for {len(bias)} classes, but the logits "
                f"have {values.shape[1]}: run the stage calibrate again"
            )
    heads = {
        rank: calibrators[rank].apply(values).astype(np.float32)
        for rank, values in raw.heads.items()
    }
    temperatures = {rank: float(calibrators[rank].temperature) for rank in heads}
    metadata = {**raw.metadata, "temperature": temperatures[raw.metadata["target"]]}
    if len(heads) > 1:
        metadata["temperatures"] = temperatures
    mixing = {
        rank: calibrators[rank].to_jsonable()
        for rank in heads
        if calibrators[rank].factors is not None
    }
    if mixing:
        metadata["calibrators"] = mixing
    return replace(raw, heads=heads, metadata=metadata)


def raw_values(calibrated: Logits) -> np.ndarray:
    """Return the raw logits of the target rank [N, C], up to a constant per sample."""
    mixing = calibrated.metadata.get("calibrators", {})
    target = calibrated.metadata["target"]
    calibrator = (
        Calibrator.from_jsonable(mixing[target])
        if target in mixing
        else Calibrator(calibrated.temperature)
    )
    return calibrator.undo(calibrated.values)
