"""Calibrates the logits of all ranks of an expert, and undoes it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tailproof.calibration.calibrator import Calibrator
from tailproof.data.logits import Block
from tailproof.runtime.errors import TailproofError

Calibrators = Mapping[str, Calibrator]


def check_calibrators(classes: Mapping[str, int], calibrators: Calibrators) -> None:
    """Check that every rank has a calibrator for its number of classes.

    Raises:
        TailproofError: a rank has none, or one for another number of classes.
    """
    for rank, count in classes.items():
        if rank not in calibrators:
            raise TailproofError(
                f"the rank '{rank}' has no calibrator: run snakemake again with --forcerun "
                "calibrate"
            )
        bias = calibrators[rank].bias
        if bias is not None and len(bias) != count:
            raise TailproofError(
                f"the calibrator of the rank '{rank}' is for {len(bias)} classes, but the logits "
                f"have {count}: run snakemake again with --forcerun calibrate"
            )


def calibrate_block(raw: Block, calibrators: Calibrators) -> Block:
    """Return the calibrated logits of every rank for some samples."""
    return {
        rank: calibrators[rank].apply(values).astype(np.float32) for rank, values in raw.items()
    }


def calibrated_metadata(raw: Mapping[str, Any], calibrators: Calibrators) -> dict[str, Any]:
    """Return the metadata of calibrated logits, which say what undoes the calibration.

    They hold the temperature of the target, `temperatures` if there are several ranks, and
    `calibrators` with those ranks that need more than a temperature.

    Args:
        raw: the metadata of the raw logits.
        calibrators: the calibrator of each rank of the logits.
    """
    temperatures = {rank: float(own.temperature) for rank, own in calibrators.items()}
    metadata = {**raw, "temperature": temperatures[raw["target"]]}
    if len(calibrators) > 1:
        metadata["temperatures"] = temperatures
    mixing = {
        rank: own.to_jsonable() for rank, own in calibrators.items() if own.factors is not None
    }
    if mixing:
        metadata["calibrators"] = mixing
    return metadata


def calibrator_of(metadata: Mapping[str, Any]) -> Calibrator:
    """Return the calibrator of the target that calibrated logits were made with.

    Its `undo` gives the raw logits, up to a constant per sample.
    """
    mixing, target = metadata.get("calibrators", {}), metadata["target"]
    if target in mixing:
        return Calibrator.from_jsonable(mixing[target])
    return Calibrator(float(metadata.get("temperature", 1.0)))
