"""The stage calibrate: calibration.json from the raw logits of the split calib."""

from pathlib import Path
from typing import Any

import numpy as np

from tailproof.calibration import metrics
from tailproof.calibration.temperature import fit_temperature, sample_weights
from tailproof.config.calibration import Calibration
from tailproof.data.logits import Logits
from tailproof.files import write_json
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

FEW_SAMPLES = 200


def calibrate(raw_logits: str | Path, config: Calibration, output: str | Path) -> dict[str, Any]:
    """Fit the temperatures of one expert and write calibration.json.

    Args:
        raw_logits: the expert's raw logits on the split calib.
        config: the weighting of the fit.
        output: path of calibration.json.

    Returns:
        The content of calibration.json. For the target rank: temperature, weighting, samples,
        classes_present, weights_sha256, warnings, and the scores before and after (nll, ece,
        ece_equal_mass, ece_classwise, brier on calib, with equal weights). other_ranks has the
        same for each other head by name, without weighting and weights_sha256.

    Raises:
        TailproofError: the file is not of the split calib, or no sample has a label at a rank.
    """
    logits = Logits.read(raw_logits)
    if logits.metadata["split"] != "calib":
        raise TailproofError(
            f"{raw_logits} holds the split '{logits.metadata['split']}', expected 'calib', the "
            "split for fitting temperatures"
        )
    fitted = {rank: _fitted(raw_logits, logits, rank, config) for rank in logits.heads}
    target = fitted.pop(logits.metadata["target"])
    result = {
        **target,
        "weighting": config.weighting,
        "weights_sha256": logits.metadata["weights_sha256"],
        "other_ranks": fitted,
    }
    write_json(output, result)
    return result


def _fitted(path: str | Path, logits: Logits, rank: str, config: Calibration) -> dict[str, Any]:
    """Fit the temperature of one head on the samples that have a label at its rank."""
    labelled = logits.labels[rank] >= 0
    values, labels = logits.heads[rank][labelled], logits.labels[rank][labelled]
    present = len(np.unique(labels))
    if not present:
        raise TailproofError(
            f"{path} has no sample with a label at the rank '{rank}', expected at least one to fit "
            "a temperature: raise data.splits.calib"
        )
    fit = fit_temperature(values, labels, sample_weights(labels, config.weighting))
    return {
        "temperature": fit.temperature,
        "samples": len(labels),
        "classes_present": present,
        "before": scores(values, labels),
        "after": scores(values / np.float64(fit.temperature), labels),
        "warnings": _coverage_warnings(len(labels), present, values.shape[1]) + fit.warnings,
    }


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the proper scores and calibration errors of [N, C] logits."""
    log_p = metrics.log_probabilities(logits)
    p = np.exp(log_p)
    return {
        "nll": float(metrics.nll(log_p, labels)),
        "ece": float(metrics.ece(p, labels)),
        "ece_equal_mass": float(metrics.ece_equal_mass(p, labels)),
        "ece_classwise": float(metrics.ece_classwise(p, labels)),
        "brier": float(metrics.brier(p, labels)),
    }


def _coverage_warnings(samples: int, present: int, classes: int) -> list[str]:
    warnings = []
    if samples < FEW_SAMPLES:
        warnings.append(
            f"calib holds only {samples} samples; a temperature from fewer than {FEW_SAMPLES} is "
            "uncertain, and so are the errors listed here"
        )
    if present < classes:
        lacking = quantity(classes - present, "class has", "classes have")
        warnings.append(f"{lacking} no sample in calib, of {classes}")
    return warnings
