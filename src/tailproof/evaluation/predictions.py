"""Predictions of experts and ensembles from files of calibrated logits, block by block."""

from collections.abc import Sequence

import numpy as np

from tailproof.calibration.calibrated_logits import calibrator_of
from tailproof.data.logits import LogitsFile, fitted_rows
from tailproof.evaluation.ensembles import combine, stack
from tailproof.evaluation.probabilities import Blocks, Prediction, Streamed, streamed


def predict_expert(file: LogitsFile, *, raw: bool = False) -> Prediction:
    """Return the prediction of an expert at the target.

    Args:
        file: its calibrated logits.
        raw: whether the calibration is undone.
    """
    target = file.metadata["target"]
    return streamed(file.classes[target], lambda: _logits(file, raw), file.target)


def predict_ensemble(
    name: str, files: Sequence[LogitsFile], weights: np.ndarray, *, raw: bool = False
) -> Prediction:
    """Return the prediction of an ensemble of experts with the same samples.

    Args:
        name: one of `config.evaluation.ENSEMBLES`.
        files: the calibrated logits of each expert.
        weights: [E], from `fit_stacked`; only stacked uses them.
        raw: whether the calibration is undone.
    """

    def read() -> Blocks:
        for rows, logits in read_experts_together(files, raw=raw):
            yield rows, combine(name, logits, weights)

    first = files[0]
    return Prediction(Streamed(first.classes[first.metadata["target"]], read), first.target)


def fit_stacked(
    files: Sequence[LogitsFile], rows: np.ndarray | None = None, *, raw: bool = False
) -> np.ndarray:
    """Return the weights of stacked, fitted on tune; see `ensembles.stack`.

    Args:
        files: the calibrated logits of each expert on tune.
        rows: the samples to fit on; all by default, if they are not too many.
        raw: whether the calibration is undone.
    """
    return stack(*logits_to_fit(files, rows, raw=raw))


def logits_to_fit(
    files: Sequence[LogitsFile], rows: np.ndarray | None = None, *, raw: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits [E, n, C] and the labels [n] that `fit_stacked` uses."""
    first = files[0]
    target = first.metadata["target"]
    rows = np.arange(len(first)) if rows is None else rows
    rows = rows[fitted_rows(len(rows), len(files) * first.classes[target])]
    parts = [file.take(target, rows) for file in files]
    if raw:
        parts = [
            calibrator_of(file.metadata).undo(part) for file, part in zip(files, parts, strict=True)
        ]
    return np.stack(parts), first.target[rows]


def read_experts_together(files: Sequence[LogitsFile], *, raw: bool = False) -> Blocks:
    """Yield row ranges and the logits of all experts, [E, n, C].

    Args:
        files: the calibrated logits of each expert, of the same samples.
        raw: whether the calibration is undone.
    """
    for parts in zip(*(_logits(file, raw) for file in files), strict=True):
        yield parts[0][0], np.stack([values for _, values in parts])


def _logits(file: LogitsFile, raw: bool) -> Blocks:
    target = file.metadata["target"]
    calibrator = calibrator_of(file.metadata)
    for rows, block in file.blocks(target):
        yield rows, calibrator.undo(block[target]) if raw else block[target]
