"""Vector and matrix scaling: factors and biases of classes, fitted after the temperature."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from tailproof.calibration.calibration_file import FACTOR_LIMITS
from tailproof.calibration.calibrator import Calibrator
from tailproof.calibration.metrics import log_probabilities
from tailproof.runtime.errors import TailproofError

MOST_CLASSES = 200
"""Most classes of a matrix, which has C² numbers."""

MOST_SINGULAR = 1e6
"""Largest condition number of a matrix that can be undone in single precision."""


def fit_vector(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, temperature: float
) -> Calibrator:
    """Fit the factors 1 + v and the bias b of the log-probabilities q of logits / temperature.

    They minimise Σ w_i · −log softmax((1 + v) ∘ q_i + b)[y_i] + C·‖v‖² + C·‖b‖², which is strictly
    convex. The penalty draws them towards 'no change' and does not grow with the number of
    samples (Berta, Holzmüller, Jordan & Bach 2026, "Structured matrix scaling", ridge penalty with
    their default strengths).

    Args:
        logits: raw logits [N, C].
        labels: N class indices.
        weights: N weights, whose sum is the effective number of samples.
        temperature: the fitted temperature.
    """
    q = log_probabilities(logits / temperature)
    classes = q.shape[1]

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        v, b = parameters.reshape(2, classes)
        loss, residual = _loss(q * (1 + v) + b, labels, weights)
        penalty = classes * (v @ v + b @ b)
        slope = np.concatenate([(residual * q).sum(axis=0), residual.sum(axis=0)])
        return loss + penalty, slope + 2 * classes * parameters

    low, high = FACTOR_LIMITS
    bounds = [(low - 1, high - 1)] * classes + [(None, None)] * classes
    v, b = _minimise(objective, np.zeros(2 * classes), bounds).reshape(2, classes)
    return Calibrator(temperature, 1 + v, b)


def fit_matrix(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, temperature: float
) -> Calibrator:
    """Fit the matrix I + M and the bias b of the log-probabilities q of logits / temperature.

    They minimise Σ w_i · −log softmax((I + M) q_i + b)[y_i] + C·‖diagonal of M‖² + C·‖b‖²
    + C(C − 1)·‖rest of M‖², as for `fit_vector`. Without the penalty it is Dirichlet calibration
    (Kull et al. 2019).

    Raises:
        TailproofError: there are too many classes.
    """
    q = log_probabilities(logits / temperature)
    classes = q.shape[1]
    if classes > MOST_CLASSES:
        raise TailproofError(
            f"calibration.calibrators lists 'matrix', which supports at most {MOST_CLASSES} "
            f"classes, found {classes}: remove it from the list"
        )
    strength = np.full((classes, classes), classes * (classes - 1.0))
    np.fill_diagonal(strength, classes)
    strength = np.column_stack([strength, np.full(classes, float(classes))])
    inputs = np.column_stack([q, np.ones(len(q))])

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        change = parameters.reshape(classes, classes + 1)
        loss, residual = _loss(q + inputs @ change.T, labels, weights)
        slope = residual.T @ inputs + 2 * strength * change
        return loss + (strength * change**2).sum(), slope.ravel()

    change = _minimise(objective, np.zeros(classes * (classes + 1))).reshape(classes, classes + 1)
    while np.linalg.cond(np.eye(classes) + change[:, :classes]) > MOST_SINGULAR:
        change /= 2  # towards the identity, which can be undone
    return Calibrator(temperature, np.eye(classes) + change[:, :classes], change[:, classes])


def _loss(
    calibrated: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the summed NLL and its derivative by the calibrated logits [N, C]."""
    log_p = log_softmax(calibrated, axis=1)
    rows = np.arange(len(labels))
    residual = np.exp(log_p)
    residual[rows, labels] -= 1
    return float(-(weights @ log_p[rows, labels])), residual * weights[:, None]


def _minimise(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    bounds: list[Any] | None = None,
) -> np.ndarray:
    options = {"ftol": 1e-13, "gtol": 1e-8, "maxiter": 2000, "maxfun": 5000}
    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
