"""Predictions for tune by something that was fitted on the rest of tune.

What a fit on tune promises of the samples that it was fitted on is too good. Each fifth of tune,
spread over the classes, is therefore predicted by a fit on the other four.
"""

from collections.abc import Callable

import numpy as np

FOLDS = 5

Array = np.ndarray


def predict_held_out(labels: Array, fit_and_predict: Callable[[Array, Array], Array]) -> Array:
    """Return a row for each sample, predicted by a fit on other samples.

    Args:
        labels: N class indices.
        fit_and_predict: takes boolean masks [N] of the samples to fit on and of those to predict,
            and returns the rows of the latter.
    """
    samples = len(labels)
    everything = np.ones(samples, bool)
    if samples < 2:
        return fit_and_predict(everything, everything)
    part = fold_of(labels)
    rows = np.empty(0)
    for fold in np.unique(part):
        here = part == fold
        predicted = fit_and_predict(~here, here)
        rows = rows if len(rows) else np.empty((samples, *predicted.shape[1:]))
        rows[here] = predicted
    return rows


def fold_of(labels: Array) -> Array:
    """Return the fold of each sample, spread over the classes."""
    part = np.empty(len(labels), int)
    part[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % FOLDS
    return part
