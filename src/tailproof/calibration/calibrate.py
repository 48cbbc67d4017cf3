"""The stage calibrate: calibration.json from raw logits of the splits that no network saw."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tailproof.calibration import metrics
from tailproof.calibration.calibrator import Calibrator
from tailproof.calibration.choice import check, choose
from tailproof.calibration.class_weights import resolve_weighting, sample_weights
from tailproof.calibration.scaling import fit_matrix, fit_vector
from tailproof.calibration.temperature import fit_temperature
from tailproof.config.calibration import CHOSEN_ON, FIT_ON, Calibration, Weighting
from tailproof.data.logits import LogitsFile, fitted_rows
from tailproof.files import write_json
from tailproof.runtime.errors import TailproofError
from tailproof.text import quantity

FEW_SAMPLES = 200
FOLDS = 5
COPIES = 2
"""How many times fewer logits are fitted on than `fitted_rows` allows: a fit copies them."""
FITS = {"vector": fit_vector, "matrix": fit_matrix}
SCORES = {"nll": "negative log-likelihood", "ece_debiased": "debiased calibration error"}


def calibrate(
    raw_logits: Mapping[str, str | Path], config: Calibration, output: str | Path
) -> dict[str, Any]:
    """Fit the calibrators of one expert, choose one per rank, and write calibration.json.

    Args:
        raw_logits: the expert's raw logits of each split of `config.splits`.
        config: the configuration section calibration.
        output: path of calibration.json.

    Returns:
        The content of calibration.json. For the target rank: calibrator, temperature, factors and
        bias of a vector or matrix, samples, classes_present, warnings, the scores before and after
        (nll, ece, ece_debiased, ece_equal_mass, ece_classwise, brier, weighted as in the fit), the
        weighting, the choice if there was one, the check on tune, and fit_on and weights_sha256.
        other_ranks has the same for each other head by name, without the last two.

    Raises:
        TailproofError: a file is of another split or network than expected, or no sample has a
            label at a rank.
    """
    logits = _read(raw_logits, config)
    first = logits[FIT_ON[config.fit_on][0]]
    fitted = {rank: _fitted(raw_logits, logits, rank, config) for rank in first.classes}
    target = fitted.pop(first.metadata["target"])
    result = {
        **target,
        "fit_on": list(FIT_ON[config.fit_on]),
        "weights_sha256": first.metadata["weights_sha256"],
        "other_ranks": fitted,
    }
    write_json(output, result)
    return result


def _read(paths: Mapping[str, str | Path], config: Calibration) -> dict[str, LogitsFile]:
    if set(paths) != set(config.splits):
        raise TailproofError(
            f"expected raw logits of the splits for calibration, {', '.join(config.splits)}, "
            f"found those of {', '.join(paths)}: correct the inputs of the rule calibrate"
        )
    logits = {split: LogitsFile.open(paths[split]) for split in config.splits}
    for split, of_split in logits.items():
        if of_split.metadata["split"] != split:
            raise TailproofError(
                f"{paths[split]} holds the split '{of_split.metadata['split']}', expected "
                f"'{split}': run snakemake again with --forcerun infer"
            )
        networks = [each.metadata["weights_sha256"] for each in (of_split, *logits.values())]
        if networks[0] != networks[1]:
            raise TailproofError(
                f"{paths[split]} was computed with the weights {networks[0][:12]}…, but "
                f"{paths[config.splits[0]]} with {networks[1][:12]}…: run snakemake again with "
                "--forcerun infer"
            )
    return logits


def _fitted(
    paths: Mapping[str, str | Path], logits: dict[str, LogitsFile], rank: str, config: Calibration
) -> dict[str, Any]:
    """Fit and choose the calibrator of one head on the samples that have a label at its rank."""
    splits = FIT_ON[config.fit_on]
    values, labels = _labelled([logits[split] for split in splits], rank)
    present = len(np.unique(labels))
    if not present:
        raise TailproofError(
            f"{paths[splits[-1]]} has no sample with a label at the rank '{rank}', expected at "
            "least one to fit a temperature: raise data.splits.calib, or label more images at "
            "this rank"
        )
    held_out = _labelled([logits[CHOSEN_ON]], rank)
    weighting = resolve_weighting(config.weighting, labels, held_out[1])
    weights = sample_weights(labels, weighting, held_out[1])
    temperature = fit_temperature(values, labels, weights)
    candidates = {
        kind: _fit(kind, values, labels, weights, temperature.temperature)
        for kind in config.calibrators
    }
    chosen, choice = config.calibrators[0], None
    if len(candidates) > 1:
        chosen, choice = choose(candidates, *held_out, weighting)
    checked = check(candidates[chosen], *held_out, weighting)
    warnings = _coverage_warnings(splits, len(labels), present, values.shape[1])
    warnings += temperature.warnings
    if checked and checked["harmful"]:
        calibrator, after = Calibrator(), values
        raised = " and the ".join(SCORES[name] for name in checked["harmful"])
        warnings.append(
            f"no calibrator is used, because the {chosen} fitted on {' and '.join(splits)} raises "
            f"the {raised} on {CHOSEN_ON}, and the 95 % interval of the difference excludes zero"
        )
    else:
        calibrator = candidates[chosen]
        after = _cross_fitted(chosen, values, labels, weighting, held_out[1])
    return {
        **calibrator.to_jsonable(),
        "samples": len(labels),
        "classes_present": present,
        "before": scores(values, labels, weights),
        "after": scores(after, labels, weights),
        "weighting": weighting,
        "choice": choice,
        "check": checked,
        "warnings": warnings,
    }


def _labelled(logits: list[LogitsFile], rank: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the raw logits and labels of the samples that have a label at a rank.

    Of so many that a fit would take more than 2 GB, some are chosen evenly.
    """
    values, labels = [], []
    for of_split in logits:
        rows = np.flatnonzero(of_split.labels[rank] >= 0)
        rows = rows[fitted_rows(len(rows), COPIES * len(logits) * of_split.classes[rank])]
        values.append(of_split.take(rank, rows))
        labels.append(of_split.labels[rank][rows])
    return np.concatenate(values), np.concatenate(labels)


def _fit(
    kind: str, values: np.ndarray, labels: np.ndarray, weights: np.ndarray, temperature: float
) -> Calibrator:
    if kind == "temperature":
        return Calibrator(temperature)
    return FITS[kind](values, labels, weights, temperature)


def _cross_fitted(
    kind: str, values: np.ndarray, labels: np.ndarray, weighting: Weighting, tune: np.ndarray
) -> np.ndarray:
    """Return calibrated logits: each fold by a calibrator fitted on the others.

    The folds are drawn without regard to classes: with the same share of each class in every fold,
    a bias fitted on the others would know the shares of this one.
    """
    if len(labels) < 2:
        return values
    fold = np.random.default_rng(0).permutation(len(labels)) % min(FOLDS, len(labels))
    calibrated = np.empty(values.shape)
    for held_out in (fold == number for number in range(fold.max() + 1)):
        rest, rest_labels = values[~held_out], labels[~held_out]
        weights = sample_weights(rest_labels, weighting, tune)
        temperature = fit_temperature(rest, rest_labels, weights).temperature
        calibrator = _fit(kind, rest, rest_labels, weights, temperature)
        calibrated[held_out] = calibrator.apply(values[held_out])
    return calibrated


def scores(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Return the proper scores and calibration errors of [N, C] logits with weights [N]."""
    log_p = metrics.log_probabilities(logits)
    p = np.exp(log_p)
    return {
        "nll": float(metrics.nll(log_p, labels, weights)),
        "ece": float(metrics.ece(p, labels, weights)),
        "ece_debiased": float(metrics.ece_debiased(p, labels, weights)),
        "ece_equal_mass": float(metrics.ece_equal_mass(p, labels, weights, weights)),
        "ece_classwise": float(metrics.ece_classwise(p, labels, weights)),
        "brier": float(metrics.brier(p, labels, weights)),
    }


def _coverage_warnings(
    splits: tuple[str, ...], samples: int, present: int, classes: int
) -> list[str]:
    place = " and ".join(splits)
    warnings = []
    if samples < FEW_SAMPLES:
        warnings.append(
            f"{place} {'holds' if len(splits) == 1 else 'hold'} only {samples} samples; with fewer "
            f"than {FEW_SAMPLES}, the calibrator stays close to 'no change', and the errors listed "
            "here are uncertain"
        )
    if present < classes:
        lacking = quantity(classes - present, "class has", "classes have")
        warnings.append(f"{lacking} no sample in {place}, out of {classes}")
    return warnings
